// Step by step: forward, then backward, one op at a time.

const when = new Map();  // the step at which a node has its value
forward.forEach((op, i) => { when.set(op, i + 1); for (const n of nodes[op].outputs) when.set(n, i + 1); });
slider.max = forward.length + steps.length;
function go(step) {
  now = clamp(step, 0, forward.length + steps.length);
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
  clear();
  tag("h2", `Forward: ${nodes[op].text[0]}`, details);
  tag("p", codes[nodes[op].code].says, details);
  for (const [heading, list] of [["It takes", nodes[op].inputs], ["It gives", nodes[op].outputs]]) {
    tag("h3", heading, details);
    for (const i of list) { tag("p", title("n" + i), details); if (nodes[i].value.cells) heat(nodes[i].value, details); }
  }
}
function describeStep(step) {
  clear();
  const op = nodes[step.op];
  tag("h2", `Backward: ${op.text[0]}`, details);
  tag("p", codes[op.code].says, details);
  tag("h3", step.upstream.length > 1 ? "The upstream gradients" : "The upstream gradient go", details);
  for (const g of step.upstream) array(g, details);
  for (const h of step.handed) {
    tag("h3", `Gradient for ${nameOf("n" + h.node)}`, details);
    array(h.part, details);
    if (h.before) {
      tag("p", "accumulated before:", details); array(h.before, details);
      tag("p", "and the sum of both:", details); array(h.total, details);
    }
    if (h.sums.length) sum(h, details);
  }
  derivation(codes[op.code]);
}
function sum(h, parent) {
  const label = tag("label", "Element ", parent), select = tag("select", null, label), out = tag("div", null, parent);
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
    out.replaceChildren();
    code(`it reaches ${terms.length} output${terms.length === 1 ? "" : "s"}, and its gradient is the sum over them:\n  `
      + (text || "0") + `\n= ${number(h.part.numbers[+select.value])}`, out);
  };
  select.addEventListener("change", show);
  show();
}
function play() {
  const knob = page.querySelector('[data-do="play"]');
  if (timer) { clearInterval(timer); timer = null; knob.textContent = "Play"; return; }
  if (now === +slider.max) go(0);
  knob.textContent = "Pause";
  timer = setInterval(() => { go(now + 1); if (now === +slider.max) play(); }, 900);
}
