function vugrad(page, data) {
  "use strict";
  const graph = JSON.parse(data.textContent);
  const {nodes, groups, edges, steps, forward, codes, sizes: {across: ACROSS, along: ALONG, margin: MARGIN, title: TITLE,
    settling: SETTLING, line: LINE, pad: PAD}} = graph;
  const canvas = page.querySelector(".canvas"), details = page.querySelector("aside");
  const slider = page.querySelector("input"), said = page.querySelector(".said");
  const SVG = "http://www.w3.org/2000/svg";
  const first = canvas.getBoundingClientRect();
  let down = graph.down || first.height > first.width, view = null, chosen = null, now = 0, timer = null;
  const shown = new Map(), drawnEdges = [];

  // --- small things

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
  const part = id => id[0] === "g" ? groups[+id.slice(1)] : nodes[+id.slice(1)];
  const isOpen = id => id[0] === "g" && part(id).open;
  const way = id => { const up = [id]; while (part(up[0]).home !== null) up.unshift("g" + part(up[0]).home); return up; };
  const number = x => typeof x === "number" ? String(+x.toPrecision(4)) : x;
  const shapeOf = shape => shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
  const nameOf = id => part(id).text.join(" ");

  // --- where everything lies, as layout.py has it

  function settled(group, span) {
    const before = new Map(), after = new Map(), y = new Map();
    for (const {a, b, through} of group.bends) {
      const passed = [a, ...through, b].filter(end => end !== null);
      for (let i = 1; i < passed.length; i++) {
        if (!after.has(passed[i - 1])) after.set(passed[i - 1], []);
        if (!before.has(passed[i])) before.set(passed[i], []);
        after.get(passed[i - 1]).push(passed[i]);
        before.get(passed[i]).push(passed[i - 1]);
      }
    }
    function spread(row, wanted) {
      const places = [];
      row.forEach((p, i) => places.push(
        i ? Math.max(wanted[i], places[i - 1] + (span(row[i - 1]) + span(p)) / 2 + ALONG) : wanted[i]));
      const shift = wanted.reduce((sum, w, i) => sum + w - places[i], 0) / Math.max(row.length, 1);
      row.forEach((p, i) => y.set(p, places[i] + shift));
    }
    for (const row of group.rows) spread(row, row.map(() => 0));
    for (let sweep = 0; sweep < SETTLING; sweep++) {
      const back = sweep % 2, beside = back ? after : before;
      for (const row of back ? [...group.rows].reverse() : group.rows)
        spread(row, row.map(p => {
          const ys = (beside.get(p) || []).map(n => y.get(n));
          return ys.length ? ys.reduce((s, v) => s + v, 0) / ys.length : y.get(p);
        }));
    }
    return y;
  }
  function place(index) {
    const group = groups[index];
    const extent = group.parts.map(id => {
      const [w, h] = isOpen(id) ? place(+id.slice(1)) : [part(id).w, part(id).h];
      part(id).width = w; part(id).height = h;
      return down ? [h, w] : [w, h];
    });
    const size = p => p < 0 ? [0, 0] : extent[p], span = p => size(p)[1];
    const y = settled(group, span), leaves = new Set(group.leaves);
    let least = Infinity, most = -Infinity, x = MARGIN;
    for (const [p, v] of y) { least = Math.min(least, v - span(p) / 2); most = Math.max(most, v + span(p) / 2); }
    if (!y.size) least = most = 0;
    const top = group.home === null ? 0 : TITLE;
    group.spots = new Map();
    for (const row of group.rows) {
      const thick = Math.max(0, ...row.map(p => size(p)[0]));
      for (const p of row) {
        const spot = [x + (leaves.has(p) ? thick - size(p)[0] / 2 : thick / 2), y.get(p) - least + MARGIN];
        group.spots.set(p, down ? [spot[1], spot[0] + top] : [spot[0], spot[1] + top]);
      }
      x += thick + ACROSS;
    }
    const far = Math.max(x - ACROSS, MARGIN) + MARGIN, wide = most - least + 2 * MARGIN;
    return down ? [wide, far + top] : [far, wide + top];
  }

  // --- drawing

  function draw() {
    const [width, height] = place(0);
    const had = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.id : null;
    canvas.replaceChildren();
    shown.clear();
    drawnEdges.length = 0;
    const tip = svg("marker", {id: page.id + "-tip", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7,
      orient: "auto-start-reverse"}, svg("defs", {}, canvas));
    svg("path", {class: "tip", d: "M0 0L8 4L0 8z"}, tip);
    const floors = [svg("g", {}, canvas), svg("g", {}, canvas), svg("g", {}, canvas)];
    groups[0].x = groups[0].y = 0;
    (function inside(index) {
      const group = groups[index];
      group.parts.forEach((id, i) => {
        const p = part(id), [x, y] = group.spots.get(i);
        p.x = group.x + x - p.width / 2; p.y = group.y + y - p.height / 2;
        box(id, floors[isOpen(id) ? 0 : 2]);
        if (isOpen(id)) inside(+id.slice(1));
      });
    })(0);
    const seen = new Set();
    for (const [a, b] of edges) connect("n" + a, "n" + b, seen, floors[1]);
    graph.extent = [width, height];
    if (!view) fit(); else look();
    const focus = shown.get(had) || shown.get(chosen) || [...shown.values()][0];
    if (focus) focus.setAttribute("tabindex", 0);
    if (had && shown.has(had)) shown.get(had).focus();
    mark();
  }
  function box(id, floor) {
    const p = part(id), open = isOpen(id), isGroup = id[0] === "g";
    const g = svg("g", {class: p.kind + (open ? " open" : "") + (p.wrong ? " wrong" : ""), "data-id": id, tabindex: -1,
      role: "button", "aria-label": told(id)}, floor);
    if (isGroup) g.setAttribute("aria-expanded", open);
    svg("title", {}, g).textContent = told(id);
    svg("rect", {x: p.x, y: p.y, width: p.width, height: p.height, rx: isGroup || p.kind === "op" ? 5 : p.height / 2}, g);
    const x = open ? p.x + PAD : p.x + p.width / 2, middle = open ? p.y + LINE : p.y + p.height / 2;
    p.text.forEach((line, i) => {
      svg("text", {x, y: middle + LINE * (i - (p.text.length - 1) / 2)}, g).textContent =
        (isGroup && !i ? (open ? "▾ " : "▸ ") : "") + line;
    });
    shown.set(id, g);
  }
  function told(id) {
    const p = part(id);
    if (id[0] === "g") return `${nameOf(id)}, ${p.count} nodes, ${p.open ? "open" : "closed"}`;
    if (p.kind === "op") return `op ${nameOf(id)} of ${p.inputs.map(i => nameOf("n" + i)).join(", ")}`;
    return `${p.kind} ${nameOf(id)}` + (p.wrong ? ", not finite" : "");
  }
  function connect(a, b, seen, floor) {
    const left = way(a), right = way(b);
    let depth = 0;
    while (left[depth] === right[depth]) depth++;
    if (left.slice(0, depth).some(id => !isOpen(id))) return;
    const start = left.find(id => !isOpen(id)), end = right.find(id => !isOpen(id));
    if (seen.has(start + " " + end)) return;
    seen.add(start + " " + end);
    const points = [], bend = (group, from, to) => {
      for (const {a, b, through} of part(group).bends)
        if (a === from && b === to)
          for (const n of through) {
            const [x, y] = part(group).spots.get(n);
            points.push([part(group).x + x, part(group).y + y]);
          }
    };
    for (let i = left.length - 2; i >= depth; i--) if (isOpen(left[i])) bend(left[i], part(left[i + 1]).place, null);
    bend(left[depth - 1], part(left[depth]).place, part(right[depth]).place);
    for (let i = depth; i < right.length - 1; i++) if (isOpen(right[i])) bend(right[i], null, part(right[i + 1]).place);
    const s = part(start), e = part(end);
    points.unshift(down ? [s.x + s.width / 2, s.y + s.height] : [s.x + s.width, s.y + s.height / 2]);
    points.push(down ? [e.x + e.width / 2, e.y] : [e.x, e.y + e.height / 2]);
    let d = `M${points[0][0]} ${points[0][1]}`;
    for (let i = 1; i < points.length; i++) {
      const [x, y] = points[i - 1], [u, v] = points[i], mx = (x + u) / 2, my = (y + v) / 2;
      d += down ? `C${x} ${my} ${u} ${my} ${u} ${v}` : `C${mx} ${y} ${mx} ${v} ${u} ${v}`;
    }
    drawnEdges.push([a, b, svg("path", {class: "edge", d, "marker-end": `url(#${page.id}-tip)`}, floor)]);
  }
  function look() { canvas.setAttribute("viewBox", view.join(" ")); }
  function fit() {
    const [w, h] = graph.extent, box = canvas.getBoundingClientRect();
    // Not larger than life, and not so small that nothing can be read.
    const scale = Math.min(Math.max(w / (box.width || 800), h / (box.height || 500), 0.8), 2.5);
    const vw = (box.width || 800) * scale, vh = (box.height || 500) * scale;
    view = [w < vw ? (w - vw) / 2 : 0, h < vh ? (h - vh) / 2 : 0, vw, vh];
    look();
  }
  function zoom(factor, x = view[0] + view[2] / 2, y = view[1] + view[3] / 2) {
    const width = Math.min(Math.max(view[2] * factor, 80), 40000), f = width / view[2];
    view = [x - (x - view[0]) * f, y - (y - view[1]) * f, view[2] * f, view[3] * f];
    look();
  }
  function into(id) {  // see that a part can be seen: open what is around it, and move there
    let changed = false;
    for (const up of way(id).slice(0, -1)) if (!part(up).open) { part(up).open = true; changed = true; }
    if (changed) draw();
    const p = part(id), [x, y] = [p.x + p.width / 2, p.y + p.height / 2];
    if (x < view[0] || y < view[1] || x > view[0] + view[2] || y > view[1] + view[3]) {
      view = [x - view[2] / 2, y - view[3] / 2, view[2], view[3]];
      look();
    }
  }
  function toggle(id) { part(id).open = !part(id).open; draw(); }
  function choose(id, focus = true) {
    chosen = id;
    mark();
    describe(id);
    if (focus) focusOn(id);
  }
  function focusOn(id) {
    for (const g of shown.values()) g.setAttribute("tabindex", -1);
    const g = shown.get(id);
    if (g) { g.setAttribute("tabindex", 0); g.focus(); }
  }

  // --- details

  function describe(id) {
    details.replaceChildren();
    const p = part(id);
    tag("h2", nameOf(id), details);
    if (id[0] === "g") {
      tag("p", `${p.kind2 || "Consecutive parts"}, ${p.count} nodes. Press Enter, or click twice, to open or close it.`,
        details, "quiet");
      button(p.open ? "Close" : "Open", details, () => { toggle(id); describe(id); });
    } else if (p.kind === "op") describeOp(p);
    else describeTensor(p);
  }
  function describeOp(p) {
    const code = codes[p.code];
    tag("p", code.says, details);
    if (p.wrong) tag("p", p.wrong, details, "alarm");
    if (p.path) tag("p", `in ${p.path}`, details, "quiet");
    if (p.line) { tag("h3", "Applied at", details); tag("pre", p.line, details); }
    if (p.constants) tag("p", `with ${p.constants}`, details, "quiet");
    links("Inputs", p.inputs);
    links("Outputs", p.outputs);
    const step = steps.findIndex(s => nodes[s.op] === p);
    if (step >= 0) button("Its backward step", details, () => go(forward.length + 1 + step));
    tag("h3", "Code", details);
    tag("pre", code.source, details);
    if (code.derivation) { tag("h3", "Derivation", details); tag("pre", code.derivation, details); }
  }
  function describeTensor(p) {
    const f = p.value;
    tag("p", `${p.kind}, shape ${shapeOf(f.shape)}, ${f.dtype}`, details, "quiet");
    if (p.made !== null) links("Made by", [p.made]);
    if (p.used.length) links("Used by", p.used);
    tag("h3", "Value", details);
    numbers(f);
    if (p.gradient) { tag("h3", "Gradient", details); numbers(p.gradient); }
    else tag("p", p.differentiated ? "No gradient has arrived yet." : "It has no gradient.", details, "quiet");
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
    const scroll = tag("div", null, parent, "scroll"), table = tag("table", null, scroll);
    const most = Math.max(Math.abs(f.low), Math.abs(f.high)) || 1, words = f.whole && f.size <= 64;
    table.setAttribute("aria-label", words ? "The numbers" : "Heat map: red above 0, blue below");
    for (const row of f.cells) {
      const tr = tag("tr", null, table);
      for (const v of row) {
        const td = tag("td", words ? number(v) : null, tr, words ? "" : "cell");
        td.title = number(v);
        if (typeof v === "number")
          td.style.background = `color-mix(in srgb, var(${v < 0 ? "--low" : "--high"}) ${
            Math.round((words ? 45 : 90) * Math.abs(v) / most)}%, var(--middle))`;
      }
    }
  }
  function links(title, list) {
    tag("h3", title, details);
    const row = tag("div", null, details, "links");
    for (const i of list) button(nameOf("n" + i), row, () => { into("n" + i); choose("n" + i); });
    if (!list.length) tag("span", "none", row, "quiet");
  }
  function button(text, parent, act) {
    const made = tag("button", text, parent);
    made.type = "button";
    made.addEventListener("click", act);
    return made;
  }

  // --- step by step

  const when = new Map();  // the step at which a node is known
  forward.forEach((op, i) => { when.set(op, i + 1); for (const n of nodes[op].outputs) when.set(n, i + 1); });
  slider.max = forward.length + steps.length;
  function go(step) {
    now = Math.min(Math.max(step, 0), forward.length + steps.length);
    slider.value = now;
    const back = now > forward.length ? steps[now - forward.length - 1] : null;
    const op = back ? back.op : now ? forward[now - 1] : null;
    said.textContent = now === 0 ? `${forward.length} op${forward.length === 1 ? "" : "s"} forward` + (steps.length ? `, then ${steps.length} backward` : "")
      : `${now} of ${forward.length + steps.length}: ${back ? "backward" : "forward"}, ${nodes[op].text[0]}`;
    slider.setAttribute("aria-valuetext", said.textContent);
    if (op !== null) { into("n" + op); chosen = "n" + op; back ? describeStep(back) : describeForward(op); }
    mark();
  }
  function describeForward(op) {
    details.replaceChildren();
    tag("h2", `Forward: ${nodes[op].text[0]}`, details);
    tag("p", codes[nodes[op].code].says, details);
    for (const [title, list] of [["It takes", nodes[op].inputs], ["It gives", nodes[op].outputs]]) {
      tag("h3", title, details);
      for (const i of list) { tag("p", nameOf("n" + i), details); if (nodes[i].value.cells) heat(nodes[i].value, details); }
    }
  }
  function describeStep(step) {
    details.replaceChildren();
    const op = nodes[step.op];
    tag("h2", `Backward: ${op.text[0]}`, details);
    tag("p", codes[op.code].says, details);
    tag("h3", "From above comes go", details);
    for (const g of step.upstream) array(g, details);
    for (const h of step.handed) {
      tag("h3", `To ${nameOf("n" + h.node)} it hands`, details);
      array(h.part, details);
      if (h.before) {
        tag("p", "There is already", details); array(h.before, details);
        tag("p", "and both together are", details); array(h.total, details);
      }
      if (h.sums.length) sum(h, details);
    }
    if (codes[op.code].derivation) { tag("h3", "Derivation", details); tag("pre", codes[op.code].derivation, details); }
  }
  function sum(h, parent) {
    const label = tag("label", "Element ", parent), select = tag("select", null, label), out = tag("pre", null, parent);
    const shape = h.part.shape, cut = i => {
      const at = [];
      for (let a = shape.length - 1; a >= 0; a--) { at.unshift(i % shape[a]); i = Math.floor(i / shape[a]); }
      return at.length ? `[${at.join(", ")}]` : "";
    };
    h.sums.forEach((terms, i) => { tag("option", cut(i) || "the number", select).value = i; });
    const most = h.sums.reduce((best, terms, i) => terms.length > h.sums[best].length ? i : best, 0);
    select.value = most;
    const show = () => {
      const terms = h.sums[+select.value];
      const text = terms.map(([name, g, slope]) => `${name} · ∂ = ${number(g)} · ${number(slope)}`).join("\n+ ");
      out.textContent = `it reaches ${terms.length} output${terms.length === 1 ? "" : "s"}, and its gradient is their sum:\n  `
        + (text || "0") + `\n= ${number(h.part.numbers[+select.value])}`;
    };
    select.addEventListener("change", show);
    show();
  }
  function array(g, parent) {
    if (!g.numbers) { tag("p", `shape ${shapeOf(g.shape)}, size (root of the mean square) ${number(g.size)}`, parent); return; }
    const columns = g.shape.length ? g.shape[g.shape.length - 1] : 1, rows = [];
    for (let i = 0; i < g.numbers.length; i += columns) rows.push(g.numbers.slice(i, i + columns));
    const table = tag("table", null, tag("div", null, parent, "scroll"));
    for (const row of rows) { const tr = tag("tr", null, table); for (const v of row) tag("td", number(v), tr); }
  }
  function mark() {
    const back = now > forward.length ? now - forward.length : 0, op = back ? steps[back - 1].op : now ? forward[now - 1] : null;
    const arrived = new Set();
    if (back && steps.length) graph.results.forEach(n => arrived.add(n));
    for (let i = 0; i < back; i++) for (const h of steps[i].handed) arrived.add(h.node);
    const later = n => now > 0 && now <= forward.length && (when.get(n) || 0) > now;
    for (const [id, g] of shown) {
      const own = id[0] === "n" ? +id.slice(1) : null;
      const holds = own === null && op !== null && !isOpen(id) && way("n" + op).includes(id);
      g.classList.toggle("chosen", id === chosen);
      g.classList.toggle("now", own !== null ? own === op : holds);
      g.classList.toggle("later", own !== null && later(own));
      const has = own !== null && arrived.has(own), text = g.querySelector(".mark");
      g.classList.toggle("arrived", has);
      if (has && !text) svg("text", {class: "mark", x: part(id).x + part(id).width, y: part(id).y + 2}, g).textContent = "∇";
      if (!has && text) text.remove();
    }
    for (const [a, b, path] of drawnEdges) {
      const current = op !== null && (a === "n" + op || b === "n" + op), tip = `url(#${page.id}-tip)`;
      path.classList.toggle("now", current);
      path.setAttribute("marker-end", current && back ? "none" : tip);  // gradients flow the other way
      path.setAttribute("marker-start", current && back ? tip : "none");
    }
  }
  function play() {
    const knob = page.querySelector('[data-do="play"]');
    if (timer) { clearInterval(timer); timer = null; knob.textContent = "Play"; return; }
    if (now === +slider.max) go(0);
    knob.textContent = "Pause";
    timer = setInterval(() => { go(now + 1); if (now === +slider.max) play(); }, 900);
  }

  // --- what a person does

  const acts = {
    open: () => {
      const most = 2000;  // of more nothing could be seen
      let count = 0;
      for (const g of groups) { if (count + g.parts.length > most) break; g.open = true; count += g.parts.length; }
      draw(); fit();
    },
    close: () => { groups.forEach((g, i) => { g.open = i === 0; }); draw(); fit(); },
    turn: () => { down = !down; draw(); fit(); },
    less: () => zoom(1.25), more: () => zoom(0.8), fit,
    back: () => go(now - 1), next: () => go(now + 1), play,
  };
  for (const knob of page.querySelectorAll("[data-do]")) knob.addEventListener("click", () => acts[knob.dataset.do]());
  slider.addEventListener("input", () => go(+slider.value));
  const target = event => { const g = event.target.closest("[data-id]"); return g && canvas.contains(g) ? g.dataset.id : null; };
  canvas.addEventListener("click", event => { const id = target(event); if (id && !moved) choose(id); });
  canvas.addEventListener("dblclick", event => { const id = target(event); if (id && id[0] === "g") toggle(id); });
  canvas.addEventListener("keydown", event => {
    const id = target(event);
    if (!id) return;
    const key = event.key, [on, off] = down ? ["ArrowDown", "ArrowUp"] : ["ArrowRight", "ArrowLeft"];
    if (key === "Enter" || key === " ") { if (id[0] === "g") { toggle(id); focusOn(id); } choose(id); }
    else if (key === on || key === off) step(id, key === on);
    else if (key.startsWith("Arrow")) beside(id, key === "ArrowDown" || key === "ArrowRight");
    else if (key === "+") zoom(0.8);
    else if (key === "-") zoom(1.25);
    else return;
    event.preventDefault();
  });
  function ends(id) {  // what is connected to a part that is shown, before and after it
    const visible = n => way(n).find(up => !isOpen(up)), found = [[], []];
    for (const [a, b] of drawnEdges) {
      if (visible(b) === id) found[0].push(visible(a));
      if (visible(a) === id) found[1].push(visible(b));
    }
    return found;
  }
  function step(id, on) { const next = ends(id)[on ? 1 : 0][0]; if (next) { into(next); focusOn(next); } }
  function beside(id, on) {
    const home = part(id).home, list = groups[home].parts.filter(p => shown.has(p));
    const next = list[(list.indexOf(id) + (on ? 1 : list.length - 1)) % list.length];
    into(next); focusOn(next);
  }
  let from = null, moved = false;
  canvas.addEventListener("pointerdown", event => { from = [event.clientX, event.clientY, ...view]; moved = false; });
  canvas.addEventListener("pointermove", event => {
    if (!from || !event.buttons) return;
    const scale = view[2] / canvas.getBoundingClientRect().width;
    const dx = event.clientX - from[0], dy = event.clientY - from[1];
    if (Math.abs(dx) + Math.abs(dy) > 4) moved = true;
    if (moved) { view = [from[2] - dx * scale, from[3] - dy * scale, view[2], view[3]]; look(); }
  });
  window.addEventListener("pointerup", () => { from = null; });
  canvas.addEventListener("wheel", event => {
    if (!event.ctrlKey && !event.metaKey && !event.altKey && page.parentElement !== document.body) return;  // a notebook scrolls
    event.preventDefault();
    const box = canvas.getBoundingClientRect();
    zoom(event.deltaY > 0 ? 1.15 : 0.87, view[0] + (event.clientX - box.x) / box.width * view[2],
      view[1] + (event.clientY - box.y) / box.height * view[3]);
  }, {passive: false});

  // --- the beginning

  function begin() {
    details.replaceChildren();
    if (graph.note) tag("p", graph.note, details, graph.alarm ? "alarm" : "quiet");
    tag("p", "Choose a node to see its numbers, its op's code and where it was made; click twice on a module to open or close it. "
      + "The slider below plays forward and backward, one op at a time.", details);
    const list = tag("details", null, details);
    tag("summary", "The graph as a list", list);
    list.addEventListener("toggle", () => {
      if (list.querySelector("ol")) return;
      const ol = tag("ol", null, list);
      for (const op of forward.slice(0, 1000)) {
        const p = nodes[op], li = tag("li", null, ol);
        button(`${p.text[0]} of ${p.inputs.map(i => nameOf("n" + i)).join(", ")} gives ${
          p.outputs.map(i => nameOf("n" + i)).join(", ")}`, li, () => { into("n" + op); choose("n" + op); });
      }
      if (forward.length > 1000) tag("p", `and ${forward.length - 1000} more`, list, "quiet");
    });
  }
  if (!steps.length && !forward.length) page.querySelector("footer").hidden = true;
  begin();
  draw();
  go(0);
  if (graph.wrong !== null) { into("n" + graph.wrong); choose("n" + graph.wrong, false); }
}
