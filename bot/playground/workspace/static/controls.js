// Interactive elements. `hands` is how they reach the rest of the page:
//   names, people, channels; entered(block, action) and enter(block, action, value) remember what was typed;
//   press(block, element, value) tells the app; confirm(dialog) asks first.

import { el, safeAddress } from "./dom.js";

const words = (text) => text?.text ?? "";

// dispatch: whether a change is told to the app at once (in messages) or only remembered (inputs of a modal).
export function control(block, element, hands, { dispatch = true, label = "" } = {}) {
  const make = MAKERS[element.type];
  if (!make) return el("span", { class: "faint" }, `[${element.type}: not shown by this page]`);
  const changed = async (value, undo) => {
    hands.enter(block.block_id, element.action_id, value);
    if (dispatch && (!element.confirm || (await hands.confirm(element.confirm)))) hands.press(block, element, value);
    else if (dispatch) undo?.();
  };
  const before = hands.entered(block.block_id, element.action_id);
  return make({ block, element, hands, changed, before, label: label || words(element.placeholder) || "Choice" });
}

const MAKERS = {
  button: ({ block, element, hands }) => {
    const press = async () => {
      if (element.confirm && !(await hands.confirm(element.confirm))) return;
      const address = element.url && safeAddress(element.url);
      if (address) window.open(address, "_blank", "noopener,noreferrer");
      hands.press(block, element, undefined);
    };
    const props = { type: "button", class: element.style ?? "plain", "aria-label": element.accessibility_label };
    return el("button", { ...props, click: press }, words(element.text));
  },
  workflow_button: ({ element }) => el("button", { type: "button", disabled: true }, words(element.text)),
  overflow: ({ element, changed }) => {
    const menu = el("details", { class: "overflow" }, el("summary", { "aria-label": "More actions" }, "⋯"));
    const items = element.options.map((option) => {
      const choose = () => {
        menu.open = false;
        const address = option.url && safeAddress(option.url);
        if (address) window.open(address, "_blank", "noopener,noreferrer");
        changed(option.value);
      };
      return el("button", { type: "button", click: choose }, words(option.text));
    });
    menu.append(el("div", { class: "menu" }, items));
    return menu;
  },
  static_select: (parts) => select(parts, grouped(parts.element)),
  users_select: (parts) => select(parts, parts.hands.people()),
  channels_select: (parts) => select(parts, parts.hands.channels()),
  conversations_select: (parts) => select(parts, parts.hands.channels()),
  external_select: (parts) => search(parts, false),
  multi_external_select: (parts) => search(parts, true),
  multi_static_select: (parts) => ticks(parts, grouped(parts.element)),
  multi_users_select: (parts) => ticks(parts, parts.hands.people()),
  multi_channels_select: (parts) => ticks(parts, parts.hands.channels()),
  multi_conversations_select: (parts) => ticks(parts, parts.hands.channels()),
  checkboxes: (parts) => ticks(parts, grouped(parts.element)),
  radio_buttons: (parts) => radios(parts),
  datepicker: (parts) => typed(parts, { type: "date" }, parts.element.initial_date),
  timepicker: (parts) => typed(parts, { type: "time" }, parts.element.initial_time),
  plain_text_input: (parts) =>
    parts.element.multiline ? area(parts) : typed(parts, { type: "text" }, parts.element.initial_value),
  email_text_input: (parts) => typed(parts, { type: "email" }, parts.element.initial_value),
  url_text_input: (parts) => typed(parts, { type: "url" }, parts.element.initial_value),
  number_input: (parts) => typed(parts, { type: "text", inputmode: "decimal" }, parts.element.initial_value),
};

// [{group, value, words, about}]
function grouped(element) {
  const groups = element.option_groups ?? [{ options: element.options }];
  return groups.flatMap((group) =>
    group.options.map((option) => ({
      group: words(group.label),
      value: option.value,
      words: words(option.text),
      about: words(option.description),
    })),
  );
}

function initial(element) {
  const options = element.initial_options ?? (element.initial_option ? [element.initial_option] : []);
  const ids = ["user", "channel", "conversation"].flatMap(
    (kind) => element[`initial_${kind}s`] ?? element[`initial_${kind}`] ?? [],
  );
  return [...options.map((option) => option.value), ...ids];
}

function select({ element, changed, before, label }, options) {
  const now = before ?? initial(element)[0] ?? "";
  const node = el("select", { "aria-label": label, change: () => changed(node.value, () => (node.value = now)) });
  node.append(el("option", { value: "", disabled: true, hidden: true }, words(element.placeholder) || "Choose…"));
  for (const group of new Set(options.map((option) => option.group))) {
    const inside = options.filter((option) => option.group === group);
    const made = inside.map((option) => el("option", { value: option.value }, option.words));
    node.append(...(group ? [el("optgroup", { label: group }, made)] : made));
  }
  node.value = now;
  return node;
}

function ticks({ element, changed, before, label }, options) {
  const chosen = new Set(before ?? initial(element));
  const boxes = options.map((option) => {
    const box = el("input", { type: "checkbox", value: option.value, checked: chosen.has(option.value) });
    box.addEventListener("change", () => {
      if (box.checked) chosen.add(option.value);
      else chosen.delete(option.value);
      changed([...chosen]);
    });
    return choice(box, option);
  });
  return el("fieldset", {}, el("legend", { class: "unseen" }, label), boxes);
}

const suggestedWords = new Map(); // value → words, for what was chosen before a dialog is drawn again
let searches = 0;

// Type-ahead: the app is asked for options as somebody types; what is chosen stands above as chips where there can be several.
function search({ block, element, hands, changed, before, label }, several) {
  for (const option of element.initial_options ?? [element.initial_option].filter(Boolean)) {
    suggestedWords.set(option.value, words(option.text));
  }
  let chosen = several ? [...(before ?? initial(element))] : [before ?? initial(element)[0]].filter(Boolean);
  const id = `options-${(searches += 1)}`;
  const list = el("div", { class: "menu suggested", role: "listbox", id, "aria-label": label, hidden: true });
  const chips = el("div", { class: "chips" });
  const shown = () => (several ? "" : (suggestedWords.get(chosen[0]) ?? ""));
  const props = { type: "text", role: "combobox", "aria-label": label, "aria-controls": id, "aria-expanded": "false" };
  const node = el("input", { ...props, autocomplete: "off", placeholder: words(element.placeholder), value: shown() });
  const unfold = (open) => {
    list.hidden = !open;
    node.setAttribute("aria-expanded", String(open));
  };
  const tell = () => changed(several ? [...chosen] : chosen[0]);
  const draw = () => {
    const made = (value) => {
      const drop = () => ((chosen = chosen.filter((one) => one !== value)), draw(), tell());
      const name = suggestedWords.get(value) ?? value;
      return el("button", { type: "button", class: "chip", "aria-label": `Remove ${name}`, click: drop }, name, " ✕");
    };
    chips.replaceChildren(...(several ? chosen.map(made) : []));
  };
  const choose = (option) => {
    suggestedWords.set(option.value, words(option.text));
    chosen = several ? [...new Set([...chosen, option.value])] : [option.value];
    node.value = shown();
    unfold(false);
    draw();
    tell();
  };
  let asked = 0;
  const ask = async (typed) => {
    const mine = (asked += 1);
    const options = await hands.suggest(block, element, typed);
    if (mine !== asked) return;
    const made = options.map((option) => el("button", { type: "button", role: "option", click: () => choose(option) }, words(option.text)));
    list.replaceChildren(...(made.length ? made : [el("p", { class: "faint" }, "Nothing fits.")]));
    unfold(true);
  };
  node.addEventListener("click", () => ask(several ? node.value : ""));
  node.addEventListener("input", () => ask(node.value));
  node.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !list.hidden) {
      event.preventDefault();
      event.stopPropagation();
      unfold(false);
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (!list.hidden) list.querySelector("[role=option]")?.click();
    } else if (event.key === "ArrowDown") {
      event.preventDefault();
      list.querySelector("[role=option]")?.focus();
    }
  });
  draw();
  const box = el("div", { class: "search" }, chips, node, list);
  box.addEventListener("focusout", (event) => {
    if (!box.contains(event.relatedTarget)) unfold(false);
  });
  return box;
}

let radioGroups = 0;

function radios({ element, changed, before, label }) {
  const now = before ?? initial(element)[0];
  const name = `radio-${(radioGroups += 1)}`;
  const boxes = grouped(element).map((option) => {
    const props = { type: "radio", name, value: option.value, checked: option.value === now };
    return choice(el("input", { ...props, change: () => changed(option.value) }), option);
  });
  return el("fieldset", {}, el("legend", { class: "unseen" }, label), boxes);
}

const choice = (box, option) =>
  el("label", { class: "choice" }, box, el("span", {}, option.words, option.about && el("small", {}, option.about)));

function typed({ element, changed, before, label }, props, first) {
  const node = el("input", {
    ...props,
    "aria-label": label,
    placeholder: words(element.placeholder),
    maxlength: element.max_length,
    value: before ?? first,
    change: () => changed(node.value),
  });
  return node;
}

function area({ element, changed, before, label }) {
  const props = { rows: 4, "aria-label": label, placeholder: words(element.placeholder), maxlength: element.max_length };
  const node = el("textarea", { ...props, change: () => changed(node.value) });
  node.value = before ?? element.initial_value ?? "";
  return node;
}
