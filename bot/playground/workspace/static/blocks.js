// Block Kit into nodes; `hands` as in controls.js.

import { control } from "./controls.js";
import { el, link } from "./dom.js";
import { mrkdwn } from "./mrkdwn.js";
import { richText } from "./richtext.js";

export const blocks = (list, hands, options = {}) => list.map((block) => one(block, hands, options));

function one(block, hands, options) {
  const draw = DRAWN[block.type];
  if (!draw) return el("p", { class: "faint" }, `[${block.type} block: not drawn by this page]`);
  return draw(block, hands, options);
}

function text(object, names) {
  return object.type === "mrkdwn" ? mrkdwn(object.text, names) : [object.text];
}

const DRAWN = {
  section: (block, hands) =>
    el(
      "div",
      { class: "section" },
      el(
        "div",
        { class: "grow" },
        block.text && el("p", { class: "text" }, text(block.text, hands.names)),
        block.fields && el("div", { class: "fields" }, block.fields.map((field) => el("p", { class: "text" }, text(field, hands.names)))),
      ),
      block.accessory && el("div", { class: "accessory" }, accessory(block, hands)),
    ),
  header: (block) => el("h3", { class: "text" }, block.text.text),
  context: (block, hands) =>
    el(
      "div",
      { class: "context" },
      block.elements.map((part) => (part.type === "image" ? image(part) : el("span", {}, text(part, hands.names)))),
    ),
  divider: () => el("hr"),
  actions: (block, hands) => el("div", { class: "actions" }, block.elements.map((element) => control(block, element, hands))),
  image: (block) => el("figure", {}, block.title && el("figcaption", {}, block.title.text), image(block)),
  rich_text: (block, hands) => richText(block, hands.names),
  markdown: (block) => el("p", { class: "text" }, block.text),
  table: (block, hands) => table(block, hands.names),
  plan: (block, hands) => el("div", {}, el("h3", {}, block.title), (block.tasks ?? []).map((task) => one(task, hands, {}))),
  task_card: (block, hands) =>
    el("div", { class: "task" }, el("span", {}, `${MARKS[block.status]} ${block.title}`), [block.details, block.output].filter(Boolean).map((part) => richText(part, hands.names))),
  alert: (block, hands) => el("div", { class: `alert ${block.level ?? "default"}`, role: "note" }, text(block.text, hands.names)),
  input: (block, hands, { errors = {} }) => input(block, hands, errors[block.block_id]),
};

const MARKS = { pending: "○", in_progress: "◐", complete: "✓", error: "✗" };

const accessory = (block, hands) =>
  block.accessory.type === "image" ? image(block.accessory) : control(block, block.accessory, hands);

// Only pictures of this server are loaded; others are named and linked.
function image(part) {
  const address = new URL(part.image_url ?? "", location.href);
  if (address.origin === location.origin) return el("img", { src: address.href, alt: part.alt_text });
  return link(part.image_url ?? "", `picture: ${part.alt_text}`);
}

function input(block, hands, error) {
  const label = block.label.text + (block.optional ? " (optional)" : "");
  const made = control(block, block.element, hands, { dispatch: block.dispatch_action === true, label });
  const id = `error-${block.block_id}`;
  if (error) made.setAttribute("aria-describedby", id);
  if (error) made.setAttribute("aria-invalid", "true");
  return el(
    "div",
    { class: "input" },
    el("div", { class: "label", "aria-hidden": "true" }, label),
    made,
    error && el("p", { class: "error", id, role: "alert" }, error),
    block.hint && el("p", { class: "faint" }, block.hint.text),
  );
}

function table(block, names) {
  const settings = block.column_settings ?? [];
  const cell = (tag, content, column) => {
    const drawn = content.type === "rich_text" ? richText(content, names) : content.text;
    const align = content.type === "raw_number" ? "right" : settings[column]?.align ?? "left";
    return el(tag, { class: align }, drawn);
  };
  const [head, ...rows] = block.rows;
  return el(
    "div",
    { class: "wide", tabindex: "0", role: "region", "aria-label": "Table" },
    el(
      "table",
      {},
      el("thead", {}, el("tr", {}, head.map((content, column) => cell("th", content, column)))),
      el("tbody", {}, rows.map((row) => el("tr", {}, row.map((content, column) => cell("td", content, column))))),
    ),
  );
}
