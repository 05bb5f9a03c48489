// One message as an article, and lists of them.

import { blocks } from "./blocks.js";
import { el, plural, time } from "./dom.js";
import { mrkdwn } from "./mrkdwn.js";

// page: what main.js offers; inThread: whether it stands in the thread's pane.
export function messageNode(message, page, inThread) {
  const names = page.names();
  const author = page.person(message.user);
  const name = author?.real_name ?? message.user;
  if (message.subtype === "channel_join" || message.subtype === "tombstone") {
    return el("article", { class: "message event", "data-ts": message.ts }, el("p", { class: "faint" }, mrkdwn(message.text, names), " ", time(message.ts)), !inThread && thread(message, page));
  }
  const node = el(
    "article",
    { class: `message ${message.is_ephemeral ? "ephemeral" : ""}`, "data-ts": message.ts, "aria-label": `Message from ${name}` },
    el("span", { class: `avatar hue-${hue(message.user)} ${author?.is_bot ? "bot" : ""}`, "aria-hidden": "true" }, initials(name)),
    el(
      "div",
      { class: "body" },
      message.is_ephemeral && el("p", { class: "only faint" }, el("span", { class: "icon eye" }), "Only visible to you"),
      el(
        "p",
        { class: "head" },
        el("strong", {}, name),
        author?.is_bot && el("span", { class: "badge" }, "APP"),
        time(message.ts),
        message.pinned_to && el("span", { class: "faint" }, "📌 Pinned"),
        message.edited && el("span", { class: "faint" }, "(edited)"),
        inThread || !isBroadcast(message) ? null : el("span", { class: "faint" }, "replied to a thread"),
      ),
      content(message, page),
      reactions(message),
      el("p", { class: "trouble", role: "alert", hidden: true }),
      !inThread && thread(message, page),
    ),
    menu(message, page, inThread),
  );
  return node;
}

// Put a message where its timestamp says, in the place of its older form.
export function place(list, message, page, inThread) {
  const made = messageNode(message, page, inThread);
  const old = find(list, message.ts);
  if (old) {
    old.replaceWith(made);
    return;
  }
  const next = [...list.children].find((node) => node.dataset.ts > message.ts);
  list.insertBefore(made, next ?? null);
}

export const find = (list, ts) => [...list.children].find((node) => node.dataset.ts === ts);

const isBroadcast = (message) => message.thread_ts && message.thread_ts !== message.ts;

function content(message, page) {
  const hands = page.hands(message);
  const drawn = message.blocks?.length
    ? blocks(message.blocks, hands)
    : message.text && el("p", { class: "text" }, mrkdwn(message.text, hands.names));
  const attached = (message.attachments ?? []).map((one) =>
    el(
      "div",
      { class: "attachment" },
      one.blocks ? blocks(one.blocks, hands) : [one.title && el("strong", {}, one.title), el("p", { class: "text" }, mrkdwn(one.text ?? one.fallback ?? "", hands.names))],
    ),
  );
  return el("div", { class: "content" }, drawn, attached);
}

function reactions(message) {
  if (!message.reactions?.length) return null;
  const made = message.reactions.map((one) => el("span", { class: "reaction" }, `:${one.name}: ${one.count}`));
  return el("p", { class: "reactions" }, made);
}

function thread(message, page) {
  if (!message.reply_count) return null;
  const open = () => page.openThread(message.channel, message.ts);
  return el("button", { type: "button", class: "replies", click: open }, el("span", { class: "icon bubble" }), plural(message.reply_count, "reply", "replies"), el("span", { class: "faint" }, " · last ", time(message.latest_reply)));
}

function menu(message, page, inThread) {
  if (message.is_ephemeral) return null;
  const shortcuts = page.shortcuts();
  const box = el("details", { class: "overflow tools" }, el("summary", { "aria-label": "Message actions" }, "⋯"));
  const item = (words, run) => el("button", { type: "button", click: () => ((box.open = false), run()) }, words);
  box.append(
    el(
      "div",
      { class: "menu" },
      !inThread && item("Reply in thread", () => page.openThread(message.channel, message.thread_ts ?? message.ts)),
      !message.pinned_to && item("Pin to channel", () => page.pin(message)),
      shortcuts.map((one) => item(one.name, () => page.useShortcut(one, message))),
    ),
  );
  return box;
}

function initials(name) {
  const parts = name.split(/[\s._-]+/u).filter(Boolean);
  return parts.slice(0, 2).map((part) => [...part][0].toUpperCase()).join("");
}

const hue = (id) => [...id].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 997, 7) % 6;
