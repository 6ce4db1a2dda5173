// The user's actions, by buttons, pointer and keys; and the panel's first text.

const acts = {
  open: () => {
    const most = 2000;  // more parts would be too small to see
    let count = 0;
    for (const g of groups) { if (count + g.parts.length > most) break; g.open = true; count += g.parts.length; }
    own = false;
    draw();
  },
  close: () => { groups.forEach((g, i) => { g.open = i === 0; }); own = false; draw(); },
  turn: () => { down = !down; own = false; draw(); },
  less: () => zoom(0.8), more: () => zoom(1.25), fit, present: () => present(!presenting),
  back: () => go(now - 1), next: () => go(now + 1), play,
};
for (const knob of page.querySelectorAll("[data-do]")) knob.addEventListener("click", () => acts[knob.dataset.do]());
slider.addEventListener("input", () => go(+slider.value));
function toggle(id) { part(id).open = !part(id).open; draw(); into(id); }
function choose(id, focus = true) {
  chosen = id;
  mark();
  describe(id);
  if (focus) focusOn(id);
}
function focusOn(id) {
  for (const g of shown.values()) g.setAttribute("tabindex", -1);
  const g = shown.get(id);
  if (g) { g.setAttribute("tabindex", 0); g.focus({preventScroll: true}); }
}
const target = event => { const g = event.target.closest("[data-id]"); return g && canvas.contains(g) ? g.dataset.id : null; };
canvas.addEventListener("click", event => { const id = target(event); if (id && !moved) choose(id); });
canvas.addEventListener("dblclick", event => { const id = target(event); if (id && id[0] === "g") toggle(id); });

const KEYS = {"+": "more", "=": "more", "-": "less", 0: "fit", p: "present"};
//: The keys of a presenter, and of the remote control in a presenter's hand.
const STEPS = {ArrowRight: "next", PageDown: "next", ArrowDown: "next", ArrowLeft: "back", PageUp: "back", ArrowUp: "back"};
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select")) return;
  const key = event.key, id = target(event);
  if (KEYS[key]) acts[KEYS[key]]();
  else if (presenting && STEPS[key]) acts[STEPS[key]]();
  else if (presenting && key === "Escape") present(false);
  else if (!id || !walk(id, key)) return;
  event.preventDefault();
});
function walk(id, key) {  // move from part to part: along the edges, or to a neighbour in the group
  const [on, off] = down ? ["ArrowDown", "ArrowUp"] : ["ArrowRight", "ArrowLeft"];
  if (key === "Enter" || key === " ") { if (id[0] === "g") toggle(id); choose(id); }
  else if (key === on || key === off) step(id, key === on);
  else if (key.startsWith("Arrow")) beside(id, key === "ArrowDown" || key === "ArrowRight");
  else return false;
  return true;
}
function ends(id) {  // the visible parts before and after a part
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

function begin() {
  clear();
  if (graph.note) tag("p", graph.note, details, graph.alarm ? "alarm" : "quiet");
  tag("p", "Choose a node to see its numbers, its op's code and where it was made; click twice on a module to open or close it. "
    + "The slider below plays forward and backward, one op at a time.", details);
  tag("p", "Keys: + and − zoom, 0 fits, p presents in large type on the whole screen (there, the arrow keys step). "
    + `${framed ? "Ctrl and the wheel zoom" : "The wheel zooms"}; drag to move.`, details, "quiet");
  const list = tag("details", null, details);
  tag("summary", "The graph as a list", list);
  list.addEventListener("toggle", () => {
    if (list.querySelector("ol")) return;
    const ol = tag("ol", null, list);
    for (const op of forward.slice(0, 1000)) {
      const p = nodes[op], li = tag("li", null, ol);
      button(`${p.text[0]} of ${p.inputs.map(i => nameOf("n" + i)).join(" and ")} gives ${
        p.outputs.map(i => nameOf("n" + i)).join(" and ")}`, li, () => { into("n" + op); choose("n" + op); });
    }
    if (forward.length > 1000) tag("p", `and ${forward.length - 1000} more`, list, "quiet");
  });
}
if (!steps.length && !forward.length) page.querySelector("footer").hidden = true;
begin();
draw();
go(0);
if (graph.wrong !== null) { into("n" + graph.wrong); choose("n" + graph.wrong, false); }
