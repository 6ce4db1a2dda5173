// The positions of all parts, by the rules of layout.py, for the groups that are open.

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
