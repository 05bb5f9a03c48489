// Slack's mrkdwn into nodes. What it does not know, it shows as it was written.

import { el, link, safeAddress } from "./dom.js";

const TOKEN = new RegExp(
  [
    "```\\n?(?<block>[\\s\\S]+?)\\n?```",
    "`(?<code>[^`\\n]+)`",
    "<(?<reference>[^<>\\n]+)>",
    "(?<bare>https?://[^\\s<>|]*[^\\s<>|.,;:!?)\\]}'\"])",
    "(?<![\\w*])\\*(?<bold>\\S(?:[^*\\n]*\\S)?)\\*(?![\\w*])",
    "(?<![\\w_])_(?<italic>\\S(?:[^_\\n]*\\S)?)_(?![\\w_])",
    "(?<![\\w~])~(?<strike>\\S(?:[^~\\n]*\\S)?)~(?![\\w~])",
  ].join("|"),
  "gu",
);

export const decoded = (text) => text.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");

// names: {users: Map(id → name), channels: Map(id → name), go(channelId)}
export function mrkdwn(text, names) {
  const nodes = [];
  let quote = null;
  const pieces = text.split(/(```[\s\S]+?```)/u);
  for (const piece of pieces) {
    if (piece.startsWith("```")) {
      quote = null;
      nodes.push(...inline(piece, names));
      continue;
    }
    const lines = piece.split("\n");
    lines.forEach((line, index) => {
      const quoted = line.match(/^(?:&gt;|>) ?(.*)$/u);
      if (quoted) {
        if (!quote) nodes.push((quote = el("blockquote")));
        else quote.append(el("br"));
        quote.append(...inline(quoted[1], names));
        return;
      }
      if (index && !quote && nodes.length) nodes.push(el("br"));
      quote = null;
      nodes.push(...inline(line, names));
    });
  }
  return nodes;
}

function inline(text, names) {
  const nodes = [];
  let from = 0;
  for (const found of text.matchAll(TOKEN)) {
    if (found.index > from) nodes.push(decoded(text.slice(from, found.index)));
    nodes.push(token(found, names));
    from = found.index + found[0].length;
  }
  if (from < text.length) nodes.push(decoded(text.slice(from)));
  return nodes;
}

function token(found, names) {
  const { block, code, reference: referred, bare, bold, italic, strike } = found.groups;
  if (block !== undefined) return el("pre", {}, decoded(block));
  if (code !== undefined) return el("code", {}, decoded(code));
  if (bare !== undefined) return link(decoded(bare), decoded(bare));
  if (bold !== undefined) return el("strong", {}, inline(bold, names));
  if (italic !== undefined) return el("em", {}, inline(italic, names));
  if (strike !== undefined) return el("s", {}, inline(strike, names));
  return reference(referred, names);
}

function reference(written, names) {
  const cut = written.indexOf("|");
  const target = cut < 0 ? written : written.slice(0, cut);
  const label = cut < 0 ? "" : decoded(written.slice(cut + 1));
  if (target.startsWith("@")) return user(target.slice(1), names, label);
  if (target.startsWith("#")) return channel(target.slice(1), names, label);
  if (target.startsWith("!date^")) return date(target.slice(6), label);
  if (target.startsWith("!subteam^")) return el("span", { class: "mention" }, label || "@group");
  if (target.startsWith("!")) return el("span", { class: "mention" }, `@${label || target.slice(1)}`);
  const address = decoded(target);
  if (!safeAddress(address)) return `<${decoded(written)}>`;
  return link(address, label || address.replace(/^mailto:/u, ""));
}

export function user(id, names, label = "") {
  return el("span", { class: "mention" }, `@${names.users.get(id) ?? (label || id)}`);
}

export function channel(id, names, label = "") {
  const name = names.channels.get(id);
  if (!name) return el("span", { class: "mention" }, `#${label || id}`);
  return el("button", { type: "button", class: "mention", click: () => names.go(id) }, `#${name}`);
}

// "1392734382^{date_short} at {time}^https://…", shown in the reader's own zone as Slack does.
export function date(written, fallback) {
  const [seconds, format = "", address] = written.split("^");
  const at = new Date(Number(seconds) * 1000);
  if (!/^\d{1,11}$/u.test(seconds) || Number.isNaN(at.getTime())) return fallback || written;
  const shown = el("time", { datetime: at.toISOString(), title: fallback || at.toLocaleString() }, formatted(at, format));
  return address ? link(decoded(address), shown) : shown;
}

function formatted(at, format) {
  const day = (style) => at.toLocaleDateString([], style);
  const near = (style) => {
    const days = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(at).setHours(0, 0, 0, 0)) / 86_400_000);
    return { 0: "today", 1: "yesterday", "-1": "tomorrow" }[days] ?? day(style);
  };
  const short = { year: "numeric", month: "short", day: "numeric" };
  const long = { weekday: "long", year: "numeric", month: "long", day: "numeric" };
  const plain = { year: "numeric", month: "long", day: "numeric" };
  const ways = {
    date_num: () => at.toLocaleDateString("sv-SE"),
    date_slash: () => at.toLocaleDateString("en-US"),
    date: () => day(plain),
    date_short: () => day(short),
    date_long: () => day(long),
    date_pretty: () => near(plain),
    date_short_pretty: () => near(short),
    date_long_pretty: () => near(long),
    day_divider_pretty: () => near(long),
    time: () => at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }),
    time_secs: () => at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" }),
    ago: () => ago(at),
  };
  return format.replace(/\{(\w+)\}/gu, (whole, name) => (ways[name] ? ways[name]() : whole));
}

function ago(at) {
  const minutes = Math.round((Date.now() - at.getTime()) / 60_000);
  if (Math.abs(minutes) < 1) return "just now";
  const ways = new Intl.RelativeTimeFormat([], { numeric: "auto" });
  if (Math.abs(minutes) < 60) return ways.format(-minutes, "minute");
  if (Math.abs(minutes) < 1440) return ways.format(-Math.round(minutes / 60), "hour");
  return ways.format(-Math.round(minutes / 1440), "day");
}
