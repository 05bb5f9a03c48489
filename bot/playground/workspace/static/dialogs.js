// The app's modals, and "are you sure?".

import { blocks } from "./blocks.js";
import { byId, el } from "./dom.js";
import { act } from "./net.js";

export function confirmed(dialog) {
  const box = byId("confirm");
  return new Promise((resolve) => {
    const done = (answer) => () => {
      box.close();
      resolve(answer);
    };
    box.oncancel = () => resolve(false);
    box.replaceChildren(
      el("h2", { id: "confirm-title" }, dialog.title?.text ?? "Are you sure?"),
      el("p", { class: "text" }, dialog.text.text),
      el(
        "div",
        { class: "ends" },
        el("button", { type: "button", class: "plain", click: done(false) }, dialog.deny?.text ?? "Cancel"),
        el("button", { type: "button", class: dialog.style ?? "primary", click: done(true) }, dialog.confirm?.text ?? "Yes"),
      ),
    );
    box.setAttribute("aria-labelledby", "confirm-title");
    box.showModal();
  });
}

// Shows the top of the stack of views. What was typed is kept by view id, so an update of the view loses nothing.
export class Modal {
  constructor(page) {
    this.page = page;
    this.box = byId("modal");
    this.entered = new Map();
    this.shown = null;
    this.box.addEventListener("cancel", (event) => {
      event.preventDefault();
      if (this.shown) this.close();
    });
  }

  show(views) {
    const view = views.at(-1);
    for (const id of this.entered.keys()) if (!views.some((one) => one.id === id)) this.entered.delete(id);
    if (!view) {
      this.shown = null;
      this.box.close();
      return;
    }
    if (this.shown?.id === view.id && this.shown.hash === view.hash) return;
    if (!this.entered.has(view.id)) this.entered.set(view.id, {});
    this.shown = view;
    this.draw({});
    if (!this.box.open) this.box.showModal();
    this.box.querySelector("input, textarea, select")?.focus();
  }

  draw(errors, trouble = "") {
    const view = this.shown;
    const form = el("form", { novalidate: true, submit: (event) => (event.preventDefault(), this.submit()) });
    form.append(
      el("h2", { id: "modal-title" }, view.title.text),
      el("div", { class: "content" }, blocks(view.blocks, this.hands(), { errors })),
      el("p", { class: "error", role: "alert", hidden: !trouble }, trouble),
      el(
        "div",
        { class: "ends" },
        el("button", { type: "button", class: "plain", click: () => this.close() }, view.close?.text ?? "Cancel"),
        view.submit && el("button", { type: "submit", class: "primary" }, view.submit.text),
      ),
    );
    this.box.setAttribute("aria-labelledby", "modal-title");
    this.box.replaceChildren(form);
  }

  hands() {
    const values = this.entered.get(this.shown.id);
    return {
      ...this.page.common(),
      entered: (block, action) => values[block]?.[action],
      enter: (block, action, value) => ((values[block] ??= {})[action] = value),
      suggest: (block, element, typed) => this.suggest(block, element, typed),
      press: (block, element, value) => this.press(block, element, value, values),
    };
  }

  async press(block, element, value, values) {
    const about = { view_id: this.shown.id, block_id: block.block_id, action_id: element.action_id, value, values };
    const said = await act("/page/view/press", { user: this.page.me(), ...about });
    if (said.failed) this.draw({}, trouble(said.failed));
  }

  async suggest(block, element, typed) {
    const about = { view_id: this.shown.id, block_id: block.block_id, action_id: element.action_id, typed };
    const said = await act("/page/view/suggest", { user: this.page.me(), ...about });
    return said.options ?? [];
  }

  async submit() {
    const view = this.shown;
    const values = this.entered.get(view.id);
    this.box.querySelector("[type=submit]").disabled = true;
    const said = await act("/page/view/submit", { user: this.page.me(), view_id: view.id, values });
    const complaints = Object.keys(said.errors ?? {}).length > 0;
    if (this.shown?.id !== view.id || (!complaints && !said.failed)) return;
    this.draw(said.errors ?? {}, complaints ? "" : trouble(said.failed));
    this.box.querySelector("[aria-invalid]")?.focus();
  }

  async close() {
    const said = await act("/page/view/close", { user: this.page.me(), view_id: this.shown.id });
    if (said.failed) this.show([]);
  }
}

// A failure as a person reads it; sentences of the workspace stay as they are.
export function trouble(failed) {
  const known = {
    operation_timeout: "The app did not answer within three seconds (operation_timeout).",
    dispatch_failed: "The app is not connected (dispatch_failed).",
  };
  return known[failed] ?? (failed.includes(" ") ? failed : `The app's answer could not be used (${failed}).`);
}
