// rich_text blocks into nodes.

import { el, link } from "./dom.js";
import { channel, date, user } from "./mrkdwn.js";

export function richText(block, names) {
  return block.elements.map((part) => {
    switch (part.type) {
      case "rich_text_preformatted":
        return el("pre", {}, leaves(part, names));
      case "rich_text_quote":
        return el("blockquote", {}, leaves(part, names));
      case "rich_text_list":
        return list(part, names);
      default:
        return el("p", { class: "text" }, leaves(part, names));
    }
  });
}

function list(part, names) {
  const items = part.elements.map((item) => el("li", {}, leaves(item, names)));
  const level = Math.min(part.indent ?? 0, 8);
  return el(part.style === "ordered" ? "ol" : "ul", { class: `indent-${level}`, start: (part.offset ?? 0) + 1 }, items);
}

const leaves = (part, names) => part.elements.map((leaf) => styled(leaf, bare(leaf, names)));

function bare(leaf, names) {
  switch (leaf.type) {
    case "text":
      return leaf.text;
    case "link":
      return link(leaf.url, leaf.text ?? leaf.url);
    case "user":
      return user(leaf.user_id, names);
    case "channel":
      return channel(leaf.channel_id, names);
    case "broadcast":
      return el("span", { class: "mention" }, `@${leaf.range}`);
    case "emoji":
      return `:${leaf.name}:`;
    case "date":
      return date(`${leaf.timestamp}^${leaf.format}${leaf.url ? `^${leaf.url}` : ""}`, leaf.fallback ?? "");
    default:
      return leaf.value ?? leaf.usergroup_id ?? leaf.team_id ?? "";
  }
}

function styled(leaf, node) {
  const style = leaf.style ?? {};
  const wraps = { code: "code", bold: "strong", italic: "em", strike: "s", underline: "u" };
  return Object.entries(wraps).reduce((inner, [name, tag]) => (style[name] ? el(tag, {}, inner) : inner), node);
}
