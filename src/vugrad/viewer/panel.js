// The panel beside the drawing: the details of the chosen part.

function clear() { details.replaceChildren(); details.scrollTop = 0; }
const title = id => nameOf(id).replace(/^the /, "The ");
function code(text, parent) {  // a line longer than the panel is wrapped with a deeper indentation
  const pre = tag("pre", null, parent);
  for (const line of text.split("\n")) {
    const depth = line.search(/\S|$/) + 2, made = tag("span", line || " ", pre);
    made.style.paddingLeft = depth + "ch";
    made.style.textIndent = -depth + "ch";
  }
  return pre;
}

function describe(id) {
  clear();
  const p = part(id);
  tag("h2", title(id), details);
  if (id[0] === "g") {
    tag("p", `${p.kind2 || "Consecutive parts"}, ${p.count} nodes. Press Enter, or click twice, to open or close it.`,
      details, "quiet");
    button(p.open ? "Close" : "Open", details, () => { toggle(id); describe(id); });
  } else if (p.kind === "op") describeOp(p);
  else describeTensor(p);
}
function describeOp(p) {
  const known = codes[p.code];
  tag("p", known.says, details);
  if (p.wrong) tag("p", p.wrong, details, "alarm");
  if (p.path) tag("p", `in ${p.path}`, details, "quiet");
  if (p.line) { tag("h3", "Applied at", details); code(p.line, details); }
  if (p.constants) tag("p", `with ${p.constants}`, details, "quiet");
  links("Inputs", p.inputs);
  links("Outputs", p.outputs);
  const step = steps.findIndex(s => nodes[s.op] === p);
  if (step >= 0) button("Its backward step", details, () => go(forward.length + 1 + step));
  tag("h3", "Code", details);
  code(known.source, details);
  derivation(known);
}
function derivation(known) {
  if (known.derivation) { tag("h3", "Derivation", details); code(known.derivation, details); }
}
function describeTensor(p) {
  const f = p.value;
  tag("p", `${p.kind}, shape ${shapeOf(f.shape)}, ${f.dtype}`, details, "quiet");
  if (p.made !== null) links("Made by", [p.made]);
  if (p.used.length) links("Used by", p.used);
  tag("h3", "Value", details);
  numbers(f);
  if (p.gradient) { tag("h3", "Gradient", details); numbers(p.gradient); }
  else tag("p", p.differentiated ? "It has no gradient yet." : "It takes no gradient.", details, "quiet");
}
function numbers(f) {
  if (!f.size) { tag("p", "It has no elements.", details, "quiet"); return; }
  if (f.cells === undefined) { tag("p", "It holds no real numbers.", details, "quiet"); return; }
  tag("p", `from ${number(f.low)} to ${number(f.high)}, mean ${number(f.mean)}`, details);
  const amiss = [[f.nan, "NaN"], [f.infinite, "infinite"]].filter(([n]) => n).map(([n, what]) => `${n} ${what}`);
  if (amiss.length) tag("p", amiss.join(", "), details, "alarm");
  heat(f, details);
  if (f.bins) {
    const bars = tag("div", null, details, "bars"), most = Math.max(...f.bins);
    bars.setAttribute("role", "img");
    bars.setAttribute("aria-label", `Histogram of ${f.bins.length} bins, the largest with ${most}`);
    for (const n of f.bins) tag("i", null, bars).style.height = `${100 * n / most}%`;
    const ends = tag("div", null, details, "ends");
    tag("span", number(f.low), ends); tag("span", number(f.high), ends);
  }
}
function heat(f, parent) {
  const most = Math.max(Math.abs(f.low), Math.abs(f.high)) || 1;
  table(f.cells, parent, (v, td) => {
    td.title = number(v);
    if (typeof v === "number")
      td.style.background = `color-mix(in srgb, var(${v < 0 ? "--low" : "--high"}) ${
        Math.round((f.whole ? 45 : 90) * Math.abs(v) / most)}%, var(--middle))`;
  }, f.whole);
}
function table(rows, parent, each = () => {}, words = true) {  // long rows are wrapped
  const made = tag("div", null, parent, words ? "numbers" : "heat");
  made.setAttribute("role", words ? "table" : "img");
  made.setAttribute("aria-label", words ? "The numbers" : "Heat map: red above 0, blue below");
  for (const row of rows) {
    const line = tag("div", null, made);
    if (words) line.setAttribute("role", "row");
    for (const v of row) {
      const cell = tag("span", words ? number(v) : null, line);
      if (words) cell.setAttribute("role", "cell");
      each(v, cell);
    }
  }
}
function array(g, parent) {
  if (!g.numbers) { tag("p", `shape ${shapeOf(g.shape)}, root mean square ${number(g.size)}`, parent); return; }
  const columns = g.shape.length ? g.shape[g.shape.length - 1] : 1, rows = [];
  for (let i = 0; i < g.numbers.length; i += columns) rows.push(g.numbers.slice(i, i + columns));
  table(rows, parent);
}
function links(title, list) {
  tag("h3", title, details);
  const row = tag("div", null, details, "links");
  for (const i of list) button(nameOf("n" + i), row, () => { into("n" + i); choose("n" + i); });
  if (!list.length) tag("span", "none", row, "quiet");
}
