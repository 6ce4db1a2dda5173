// The visible part of the drawing and its scale: scrolling, dragging, and zooming at a point.

//: The least and largest scale when a graph is fitted (letters have 12 pixels at scale 1), and when the user zooms.
const FITTED = {desk: [1, 2], hall: [2, 4]}, SCALES = [0.1, 8];
const framed = window.parent !== window;
let scale = null, own = false, presenting = false;

function look() {
  const [width, height] = graph.extent;
  paper.setAttribute("viewBox", `0 0 ${width} ${height}`);
  paper.setAttribute("width", width * scale);
  paper.setAttribute("height", height * scale);
}
function fit() {
  const [width, height] = graph.extent;
  const whole = Math.min(canvas.clientWidth / width, canvas.clientHeight / height);
  scale = clamp(whole, ...FITTED[presenting ? "hall" : "desk"]);  // the whole graph, if its text stays readable
  own = false;
  look();
  canvas.scrollLeft = down ? (canvas.scrollWidth - canvas.clientWidth) / 2 : 0;
  canvas.scrollTop = down ? 0 : (canvas.scrollHeight - canvas.clientHeight) / 2;
  if (shown.has(chosen)) into(chosen);
}
function middle() {
  const box = canvas.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
}
function zoom(factor, [x, y] = middle()) {  // the point (x, y) of the screen stays in place
  const before = paper.getBoundingClientRect(), wanted = clamp(scale * factor, ...SCALES), f = wanted / scale;
  scale = wanted;
  own = true;
  look();
  const after = paper.getBoundingClientRect();
  canvas.scrollLeft += after.x + (x - before.x) * f - x;
  canvas.scrollTop += after.y + (y - before.y) * f - y;
}
function into(id) {  // bring a part into view: open the groups around it, and scroll
  let changed = false;
  for (const up of way(id).slice(0, -1)) if (!part(up).open) { part(up).open = true; changed = true; }
  if (changed) draw();
  const box = canvas.getBoundingClientRect(), at = shown.get(id).getBoundingClientRect();
  const seen = at.left >= box.left && at.right <= box.right && at.top >= box.top && at.bottom <= box.bottom;
  if (seen && !presenting) return;
  canvas.scrollLeft += at.x + at.width / 2 - box.x - box.width / 2;
  canvas.scrollTop += at.y + at.height / 2 - box.y - box.height / 2;
}

let from = null, moved = false, pinched = null;
canvas.addEventListener("pointerdown", event => {
  moved = false;
  from = event.pointerType === "mouse" ? [event.clientX, event.clientY, canvas.scrollLeft, canvas.scrollTop] : null;
});
canvas.addEventListener("pointermove", event => {  // a finger scrolls by itself
  if (!from || !event.buttons) return;
  const dx = event.clientX - from[0], dy = event.clientY - from[1];
  if (Math.abs(dx) + Math.abs(dy) > 4) moved = true;
  if (moved) { canvas.scrollLeft = from[2] - dx; canvas.scrollTop = from[3] - dy; }
});
window.addEventListener("pointerup", () => { from = null; });
const apart = ([a, b]) => Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
canvas.addEventListener("touchmove", event => {
  if (event.touches.length !== 2) return;
  event.preventDefault();
  const [a, b] = event.touches, distance = apart(event.touches);
  if (pinched) zoom(distance / pinched, [(a.clientX + b.clientX) / 2, (a.clientY + b.clientY) / 2]);
  pinched = distance;
}, {passive: false});
for (const ended of ["touchend", "touchcancel"]) canvas.addEventListener(ended, () => { pinched = null; });
canvas.addEventListener("wheel", event => {
  if (event.shiftKey || framed && !presenting && !event.ctrlKey && !event.metaKey) return;  // a notebook scrolls
  event.preventDefault();
  zoom(Math.exp(-clamp(event.deltaY, -100, 100) / 500), [event.clientX, event.clientY]);
}, {passive: false});
new ResizeObserver(() => { if (!own) fit(); }).observe(canvas);

function present(on) {  // large letters, the whole screen, full contrast
  presenting = on;
  page.classList.toggle("presenting", on);
  const knob = page.querySelector('[data-do="present"]');
  knob.setAttribute("aria-pressed", on);
  knob.textContent = on ? "Leave" : "Present";
  // A frame may not be allowed to use the whole screen; the rest of the mode works without it.
  if (on && page.requestFullscreen) page.requestFullscreen().catch(() => {});
  if (!on && document.fullscreenElement) document.exitFullscreen();
  fit();
}
document.addEventListener("fullscreenchange", () => { if (presenting && !document.fullscreenElement) present(false); });
