// The page: which channel and thread are open, what is known, and how changes reach the screen.

import { Modal, confirmed, trouble } from "./dialogs.js";
import { byId, el, plural } from "./dom.js";
import { Home } from "./home.js";
import { find, place } from "./message.js";
import { act, get, listen } from "./net.js";

const SHOWN = 1500; // messages of a channel on the screen
const known = { users: [], channels: [], commands: [], shortcuts: [], notes: [], app: {} };
const messages = new Map(); // channel → Map(ts → message)
const entered = new Map(); // channel/ts → {block: {action: value}}
const unread = new Set();
let me = sessionStorage.getItem("me") ?? "";
let open = { channel: "", thread: "" };
let stop = () => {};

const page = {
  me: () => me,
  names: () => ({
    users: new Map(known.users.map((one) => [one.id, one.real_name])),
    channels: new Map(known.channels.map((one) => [one.id, one.name])),
    go: (channel) => go(channel),
  }),
  common: () => ({
    names: page.names(),
    people: () => known.users.filter((one) => !one.is_bot).map((one) => ({ value: one.id, words: one.real_name })),
    channels: () => known.channels.map((one) => ({ value: one.id, words: `#${one.name}` })),
    confirm: confirmed,
  }),
  person: (id) => known.users.find((one) => one.id === id),
  shortcuts: () => known.shortcuts.filter((one) => one.kind === "message"),
  openThread: (channel, ts) => go(channel, ts),
  useShortcut: async (shortcut, message) => {
    const about = { callback_id: shortcut.callback_id, channel: message.channel, ts: message.ts };
    tellTrouble(message, await act("/page/shortcut", { user: me, ...about }));
  },
  pin: async (message) => {
    tellTrouble(message, await act("/page/pin", { user: me, channel: message.channel, ts: message.ts }));
  },
  hands: (message) => {
    const key = `${message.channel}/${message.ts}`;
    if (!entered.has(key)) entered.set(key, {});
    const values = entered.get(key);
    return {
      ...page.common(),
      entered: (block, action) => values[block]?.[action],
      enter: (block, action, value) => ((values[block] ??= {})[action] = value),
      press: async (block, element, value) => {
        const about = { channel: message.channel, ts: message.ts, block_id: block.block_id, action_id: element.action_id };
        tellTrouble(message, await act("/page/press", { user: me, ...about, value, values }));
      },
    };
  },
};
const modal = new Modal(page);
const home = new Home(page);

// --- what is known

async function load() {
  Object.assign(known, await get("/page/workspace", { user: me }));
  const people = known.users.filter((one) => !one.is_bot);
  if (!people.some((one) => one.id === me) && people.length) {
    actAs(people[0].id);
    return;
  }
  const [channel, thread] = location.hash.slice(1).split("/");
  const there = known.channels.some((one) => one.id === channel);
  open = there ? { channel, thread: thread ?? "" } : { channel: known.channels[0]?.id ?? "", thread: "" };
  modal.show(known.views);
  drawFrame();
  await loadMessages();
}

async function loadMessages() {
  const channel = open.channel;
  if (!channel) return;
  const loaded = await get("/page/messages", { user: me, channel });
  messages.set(channel, new Map(loaded.messages.map((one) => [one.ts, one])));
  if (channel === open.channel) drawMessages();
}

function actAs(user) {
  me = user;
  sessionStorage.setItem("me", user);
  stop();
  messages.clear();
  stop = listen(me, hear);
}

function hear(kind, body) {
  byId("offline").hidden = kind !== "offline";
  if (kind === "hello" || kind === "lagged") load();
  else if (kind === "frame") refresh();
  else if (kind === "views") modal.show(body.views);
  else if (kind === "home") home.show(body);
  else if (kind === "message") heardMessage(body);
  else if (kind === "removed") heardRemoval(body);
}

async function refresh() {
  Object.assign(known, await get("/page/workspace", { user: me }));
  drawFrame();
}

function heardMessage(message) {
  messages.get(message.channel)?.set(message.ts, message);
  if (message.channel !== open.channel) {
    unread.add(message.channel);
    drawChannels();
    return;
  }
  if (inChannel(message)) keepingEnd(byId("messages"), () => place(byId("messages"), message, page, false));
  if (inThread(message)) keepingEnd(byId("replies"), () => place(byId("replies"), message, page, true));
}

function heardRemoval({ channel, ts }) {
  messages.get(channel)?.delete(ts);
  if (channel !== open.channel) return;
  find(byId("messages"), ts)?.remove();
  find(byId("replies"), ts)?.remove();
}

const inChannel = (one) => !one.thread_ts || one.thread_ts === one.ts || one.subtype === "thread_broadcast";
const inThread = (one) => open.thread && (one.ts === open.thread || one.thread_ts === open.thread);

// --- what is shown

function drawFrame() {
  const channel = known.channels.find((one) => one.id === open.channel);
  const name = channel ? `${channel.private ? "" : "#"}${channel.name}` : "No channel yet";
  document.title = `${name} · Playground`;
  byId("channel-name").replaceChildren(...(channel?.private ? [el("span", { class: "icon lock", title: "private" })] : []), name);
  byId("channel-about").textContent = channel ? plural(channel.members, "member", "members") : "";
  byId("thread-place").textContent = name;
  byId("say").placeholder = known.commands.length ? `Message, or ${known.commands[0].name} …` : "Message";
  const people = known.users.filter((one) => !one.is_bot);
  byId("acting").replaceChildren(...people.map((one) => el("option", { value: one.id }, one.real_name)));
  byId("acting").value = me;
  for (const id of ["notes", "side-notes"]) {
    const made = known.notes.map((note) => el("a", { href: note.url, target: "_blank", rel: "noopener" }, note.title));
    byId(id).replaceChildren(...made);
  }
  home.offer(known.app);
  drawChannels();
}

function drawChannels() {
  const made = known.channels.map((one) => {
    const here = one.id === open.channel;
    const props = { type: "button", class: unread.has(one.id) ? "unread" : "", "aria-current": here && "page" };
    const mark = unread.has(one.id) && el("span", { class: "dot", title: "New messages" });
    const words = [el("span", { class: one.private ? "icon lock" : "mark" }, one.private ? "" : "#"), el("span", { class: "name" }, one.name), mark];
    return el("li", {}, el("button", { ...props, click: () => go(one.id) }, words));
  });
  byId("channels").replaceChildren(...made);
}

function drawMessages() {
  const all = [...(messages.get(open.channel)?.values() ?? [])];
  fill(byId("messages"), all.filter(inChannel), false);
  byId("thread").hidden = !open.thread;
  document.body.classList.toggle("with-thread", Boolean(open.thread));
  fill(byId("replies"), open.thread ? all.filter(inThread) : [], true);
  byId("replies").scrollTop = 0; // a thread is read from its first line
}

function fill(list, shown, asThread) {
  list.replaceChildren();
  shown.sort((one, other) => (one.ts < other.ts ? -1 : 1)).forEach((one) => place(list, one, page, asThread));
  list.scrollTop = list.scrollHeight;
}

function keepingEnd(list, change) {
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
  change();
  while (list.children.length > SHOWN) list.firstElementChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

function tellTrouble(message, said) {
  if (!said.failed) return;
  for (const list of [byId("messages"), byId("replies")]) {
    const line = find(list, message.ts)?.querySelector(".trouble");
    if (line) Object.assign(line, { hidden: false, textContent: trouble(said.failed) });
  }
}

// --- moving about

function go(channel, thread = "") {
  open = { channel, thread };
  unread.delete(channel);
  history.replaceState(null, "", `#${channel}${thread ? `/${thread}` : ""}`);
  toggleSide(false);
  drawFrame();
  if (messages.has(channel)) drawMessages();
  else loadMessages();
  if (thread) byId("thread-close").focus();
}

function toggleSide(shown) {
  document.body.classList.toggle("with-side", shown);
  byId("menu").setAttribute("aria-expanded", String(shown));
}

function composer(form, threadOf) {
  const box = form.querySelector("textarea");
  const hint = form.querySelector(".hint");
  const grow = () => {
    box.style.height = "auto";
    box.style.height = `${Math.min(box.scrollHeight, 160)}px`;
    const typed = box.value.split(/\s/u)[0];
    const command = typed.length > 1 && known.commands.find((one) => one.name.startsWith(typed));
    hint.textContent = command ? `${command.name} ${command.usage}${command.about ? ` · ${command.about}` : ""}` : "";
  };
  box.addEventListener("input", grow);
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = box.value.trim();
    if (!text || !open.channel) return;
    box.value = "";
    grow();
    const said = await act("/page/say", { user: me, channel: open.channel, text, thread_ts: threadOf() });
    if (said.failed?.includes(" ")) hint.textContent = said.failed;
  });
}

byId("menu").addEventListener("click", () => toggleSide(!document.body.classList.contains("with-side")));
document.querySelector("main").addEventListener("click", () => toggleSide(false));
byId("home-open").addEventListener("click", () => (toggleSide(false), home.open()));
byId("thread-close").addEventListener("click", () => go(open.channel));
byId("acting").addEventListener("change", (event) => actAs(event.target.value));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && open.thread && !document.querySelector("dialog[open]")) go(open.channel);
});
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.overflow[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
window.addEventListener("hashchange", load);
composer(byId("composer"), () => undefined);
composer(byId("reply"), () => open.thread);
stop = listen(me, hear);
