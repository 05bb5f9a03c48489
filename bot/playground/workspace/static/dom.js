// Elements are only ever made of tags, attributes and text: nothing that comes from outside is read as HTML.

export function el(name, props = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") node.addEventListener(key, value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export const byId = (id) => document.getElementById(id);

// The address if a browser may follow it from here, else null.
export function safeAddress(text) {
  try {
    const address = new URL(text);
    return ["http:", "https:", "mailto:"].includes(address.protocol) ? address.href : null;
  } catch {
    return null;
  }
}

export function link(address, ...label) {
  const safe = safeAddress(address);
  if (!safe) return el("span", {}, ...label);
  return el("a", { href: safe, target: "_blank", rel: "noopener noreferrer" }, ...label);
}

export function time(ts) {
  const at = new Date(Number(ts) * 1000);
  const shown = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return el("time", { datetime: at.toISOString(), title: at.toLocaleString() }, shown);
}

export const plural = (count, one, many) => `${count} ${count === 1 ? one : many}`;
