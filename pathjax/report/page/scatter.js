const SHADES = 32;

// Points in the plane: embeddings by class or number, or genes before and after
// (`square`). Numbers are drawn in SHADES shades of cividis.
function scatter(set) {
  const total = set.x.length, hidden = new Set();
  const [least, most] = set.values ? extent(set.values) : [];
  const groupOf = set.values
    ? (at) => (known(set.values[at]) ? Math.min(SHADES - 1, Math.floor((SHADES * (set.values[at] - least)) / (most - least || 1))) : SHADES)
    : (at) => set.label[at];
  const members = Array.from({ length: set.values ? SHADES + 1 : set.classes.length }, () => []);
  set.x.forEach((x, at) => { if (known(x) && known(set.y[at])) members[groupOf(at)].push(at); });
  let [left, right] = extent(set.x), [low, high] = extent(set.y);
  if (set.square) { left = low = Math.min(left, low); right = high = Math.max(right, high); }
  let size = 1;
  const edge = 12, xs = new Float32Array(total), ys = new Float32Array(total);
  let picked = -1;

  const { node, paint } = board(`${set.title}: ${count(total)} points. Arrow keys go from point to point.`, set.square ? 1 : 0.7,
    (pen, wide, tall) => {
      size = Math.max(1.3, Math.min(4, (0.12 * wide) / Math.sqrt(total)));
      const across = (wide - 2 * edge) / (right - left || 1), along = (tall - 2 * edge) / (high - low || 1);
      if (set.square) {
        pen.strokeStyle = inked("faint");
        pen.beginPath();
        if (left < 0 && right > 0) {
          pen.moveTo(edge - left * across, edge);
          pen.lineTo(edge - left * across, tall - edge);
          pen.moveTo(edge, tall - edge + low * along);
          pen.lineTo(wide - edge, tall - edge + low * along);
        }
        pen.moveTo(edge, tall - edge);
        pen.lineTo(wide - edge, edge);
        pen.stroke();
      }
      xs.fill(NaN);
      pen.globalAlpha = total > 2000 ? 0.65 : 0.85;
      members.forEach((ats, label) => {
        if (hidden.has(label)) return;
        const form = shape(set.values ? 0 : label);
        let path = "";
        for (const at of ats) {
          xs[at] = edge + (set.x[at] - left) * across;
          ys[at] = tall - edge - (set.y[at] - low) * along;
          path += form(Math.round(xs[at] * 10) / 10, Math.round(ys[at] * 10) / 10, size);
        }
        pen.fillStyle = !set.values ? inked(colour(label)) : label === SHADES ? inked("faint") : rgb(heat((label + 0.5) / SHADES));
        pen.fill(new Path2D(path));
      });
      if (picked >= 0) {
        pen.globalAlpha = 1;
        pen.strokeStyle = inked("strong");
        pen.lineWidth = 2;
        pen.beginPath();
        pen.arc(xs[picked], ys[picked], size + 4, 0, 7);
        pen.stroke();
      }
    });
  const short = (value) => minus(value.toFixed(3));
  explore(node, () => ({ xs, ys }), (at) => [set.id[at] ?? `point ${at + 1}`, ...(set.square
    ? [`${set.axes[0]}: ${short(set.x[at])}`, `${set.axes[1]}: ${short(set.y[at])}`] : [set.values ? String(set.values[at] ?? "(none)") : set.classes[set.label[at]]])],
  (at) => { picked = at; paint(); });

  if (set.values) node.className = "map";
  const legend = set.square ? null : set.values ? ramp(least, most) : el("ul", { class: "legend" }, ...set.classes.map((name, label) =>
    el("li", {}, el("button", { type: "button", "aria-pressed": "true", onclick: (event) => {
      if (!hidden.delete(label)) hidden.add(label);
      event.currentTarget.setAttribute("aria-pressed", String(!hidden.has(label)));
      paint();
    } }, mark(label), `${name} (${count(members[label].length)})`))));
  const axes = set.square ? el("p", { class: "below" }, `across: ${set.axes[0]}; up: ${set.axes[1]}; above the line: better`) : null;
  return el("figure", {}, el("figcaption", {}, set.title), node, axes, legend);
}

function drawPoints(sets) {
  const node = section("points", "Embeddings", el("p", {}, "Every mark is a sample. Point at one, or use the arrow keys on the plot, "
    + "to read its name; the buttons hide and show a class."));
  for (const set of sets) node.append(scatter(set), ...set.notes.map((note) => el("p", {}, note)), set.dropped ? el("p", {}, `${count(set.dropped)} rows have no coordinates.`) : "");
}
