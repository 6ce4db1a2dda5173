// The scripts run in one function, with the arguments page (an element) and data; page.py lists them in order.
const graph = JSON.parse(data.textContent);
const {nodes, groups, edges, steps, forward, codes, sizes: {across: ACROSS, along: ALONG, margin: MARGIN, title: TITLE,
  settling: SETTLING, line: LINE, pad: PAD}} = graph;
const canvas = page.querySelector(".canvas"), paper = canvas.querySelector("svg"), details = page.querySelector("aside");
const slider = page.querySelector("input"), said = page.querySelector(".said");
const SVG = "http://www.w3.org/2000/svg";
const shown = new Map(), drawnEdges = [];
let down = graph.down ?? canvas.clientHeight > canvas.clientWidth;
let chosen = null, now = 0, timer = null;

function svg(name, attributes, parent) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (parent) parent.append(made);
  return made;
}
function tag(name, text, parent, className) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  if (className) made.className = className;
  if (parent) parent.append(made);
  return made;
}
function button(text, parent, act) {
  const made = tag("button", text, parent);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}

const part = id => id[0] === "g" ? groups[+id.slice(1)] : nodes[+id.slice(1)];
const isOpen = id => id[0] === "g" && part(id).open;
const way = id => { const up = [id]; while (part(up[0]).home !== null) up.unshift("g" + part(up[0]).home); return up; };
const number = x => typeof x === "number" ? String(+x.toPrecision(4)) : x;
const shapeOf = shape => shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
const nameOf = id => id[0] === "g" ? part(id).text.join(" ") : part(id).name;
const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
function told(id) {
  const p = part(id);
  if (id[0] === "g") return `${nameOf(id)}, ${p.count} nodes, ${p.open ? "open" : "closed"}`;
  if (p.kind === "op") return `op ${p.text[0]} of ${p.inputs.map(i => nameOf("n" + i)).join(" and ")}`;
  return `${p.name}, ${p.kind}` + (p.wrong ? ", not finite" : "");
}
