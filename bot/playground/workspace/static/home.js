// The app's Home, laid over the page.

import { blocks } from "./blocks.js";
import { trouble } from "./dialogs.js";
import { byId, el } from "./dom.js";
import { act } from "./net.js";

export class Home {
  constructor(page) {
    this.page = page;
    this.box = byId("home");
    this.name = "";
  }

  // Shows the way in, where the app has a Home.
  offer(app) {
    this.name = app.name;
    byId("home-open").hidden = !app.has_home;
    byId("home-open").textContent = `${app.name}: Home`;
  }

  async open() {
    this.draw([], "");
    this.box.showModal();
    const said = await act("/page/home", { user: this.page.me() });
    if (said.failed) this.draw([], trouble(said.failed));
  }

  show(view) {
    if (this.box.open) this.draw(view.blocks, "");
  }

  draw(list, failed) {
    const close = el("button", { type: "button", class: "plain", click: () => this.box.close() }, "Close");
    this.box.replaceChildren(
      el("h2", { id: "home-title" }, this.name),
      el("div", { class: "content" }, blocks(list, this.hands())),
      el("p", { class: "error", role: "alert", hidden: !failed }, failed),
      el("div", { class: "ends" }, close),
    );
  }

  hands() {
    const press = async (block, element) => {
      const about = { user: this.page.me(), block_id: block.block_id, action_id: element.action_id };
      const said = await act("/page/home/press", about);
      if (said.failed) this.box.querySelector("[role=alert]").replaceChildren(trouble(said.failed));
    };
    return { ...this.page.common(), entered: () => undefined, enter: () => undefined, press };
  }
}
