// The drawing: boxes in open groups, the edges between them, and their marks at a step.

function draw() {
  const [width, height] = place(0);
  const had = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.id : null;
  paper.replaceChildren();
  shown.clear();
  drawnEdges.length = 0;
  const markers = svg("defs", {}, paper);
  // Arrow tips have one size in pixels for every line width. Safari cannot use the line's colour for them.
  for (const [name, size] of [["tip", 9], ["tip-now", 12]]) {
    const marker = svg("marker", {id: `${page.id}-${name}`, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: size,
      markerHeight: size, markerUnits: "userSpaceOnUse", orient: "auto-start-reverse"}, markers);
    svg("path", {class: name, d: "M0 0L8 4L0 8z"}, marker);
  }
  const floors = [0, 1, 2, 3].map(() => svg("g", {}, paper));
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
  for (const title of floors[0].querySelectorAll("text")) {  // draw titles again, above the incoming edges
    floors[3].append(title.cloneNode(true));
    floors[3].lastChild.setAttribute("class", "title");
    floors[3].lastChild.setAttribute("aria-hidden", true);
  }
  graph.extent = [width, height];
  if (own) look(); else fit();
  const focus = shown.get(had) || shown.get(chosen) || [...shown.values()][0];
  if (focus) focus.setAttribute("tabindex", 0);
  if (had && shown.has(had)) shown.get(had).focus({preventScroll: true});
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
  drawnEdges.push([a, b, svg("path", {class: "edge", d}, floor)]);
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
    const current = op !== null && (a === "n" + op || b === "n" + op);
    const tip = `url(#${page.id}-${current ? "tip-now" : "tip"})`;
    path.classList.toggle("now", current);
    path.setAttribute("marker-end", current && back ? "none" : tip);  // gradients flow the other way
    path.setAttribute("marker-start", current && back ? tip : "none");
  }
}
