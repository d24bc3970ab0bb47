const data = JSON.parse(document.getElementById("data").textContent);
const main = document.getElementById("content");
const SVG = "http://www.w3.org/2000/svg";

// Names from data are set as text and never parsed as markup.
function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}
const el = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

const known = (value) => value !== null && value !== undefined;
const minus = (text) => text.replace(/^-(?=[0.]*$)/, "").replace("-", "\u2212");
const fixed = (value, digits = 3) => (known(value) ? minus(value.toFixed(digits)) : "");
const plus = (value, text) => (value > 0 && /[1-9]/.test(text) ? "+" : "") + text;
const percent = (value) => fixed(known(value) ? 100 * value : null, 1);
const points = (value) => (known(value) ? plus(value, percent(value)) : "");
const range = (low, high, show) => (known(low) ? `[${show(low)}, ${show(high)}]` : "");
const count = (number) => number.toLocaleString("en-GB");
const chanceOf = (p) => (known(p) ? (p < 0.0001 ? "< 0.0001" : p.toFixed(p < 0.01 ? 4 : 3)) : "");
const say = (text) => { document.getElementById("said").textContent = text; };

let numbered = 0;
function section(id, heading, ...children) {
  const node = el("section", { id, "aria-labelledby": `${id}-heading` },
    el("h2", { id: `${id}-heading` }, heading), ...children);
  main.append(node);
  document.querySelector("nav").append(el("a", { href: `#${id}` }, heading));
  return node;
}

// A labelled select; `change` is called when another option is chosen.
function choice(label, options, change) {
  const select = el("select", {}, ...options.map((text, at) => el("option", { value: at }, text)));
  select.addEventListener("change", () => change(+select.value));
  return el("label", { class: options.length > 1 ? null : "unseen" }, `${label} `, select);
}

const tip = document.getElementById("tip");
function showTip(lines, x, y) {
  tip.replaceChildren(...lines.map((line) => el("div", {}, line)));
  tip.hidden = false;
  const wide = document.documentElement.clientWidth;
  tip.style.left = `${Math.max(4, Math.min(x + 12, wide - tip.offsetWidth - 4))}px`;
  tip.style.top = `${y + 14 + tip.offsetHeight > innerHeight ? y - tip.offsetHeight - 10 : y + 14}px`;
}
const hideTip = () => { tip.hidden = true; };
addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
