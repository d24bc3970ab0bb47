// The 1st to the 99th percentile, as in the pictures: an outlier does not stretch the range.
function span(values) {
  const sorted = values.filter(known).sort((a, b) => a - b), last = sorted.length - 1;
  return last < 0 ? [null, null] : [sorted[Math.round(0.01 * last)], sorted[Math.round(0.99 * last)]];
}

function drawMaps(sets) {
  const node = section("maps", "Spot maps", el("p", {}, "A mark is a spot, bright where expression is high. Colours span the 1st to the 99th percentile."));
  for (const set of sets) node.append(spotMap(set));
}

function spotMap(set) {
  const [left, right] = extent(set.x), [top, bottom] = extent(set.y), total = set.x.length;
  const ratio = Math.max(0.3, Math.min(1.6, (bottom - top || 1) / (right - left || 1)));
  const kinds = ["measured", "predicted"].filter((kind) => set.genes.some((gene) => gene[kind]));
  let now = 0, shared = false;
  const place = el("div", { class: "panels" }), caption = el("p", { class: "below" });

  const drawn = kinds.map((kind) => {
    const xs = new Float32Array(total), ys = new Float32Array(total), ends = el("div"), values = () => set.genes[now][kind] || [];
    let picked = -1;
    const limits = () => span(shared ? kinds.flatMap((one) => set.genes[now][one] || []) : values());
    const { node, paint } = board(`${kind} expression, ${count(total)} spots. Arrow keys go from spot to spot.`, ratio, (pen, wide, tall) => {
      const size = Math.max(1.2, Math.min(9, 0.42 * Math.sqrt((wide * tall) / total))), edge = size + 3;
      const [low, high] = limits();
      for (let at = 0; at < total; at++) {
        xs[at] = edge + ((set.x[at] - left) / (right - left || 1)) * (wide - 2 * edge);
        ys[at] = edge + ((set.y[at] - top) / (bottom - top || 1)) * (tall - 2 * edge);
        const value = values()[at];
        pen.beginPath();
        pen.arc(xs[at], ys[at], size, 0, 7);
        if (known(value)) { pen.fillStyle = rgb(heat((value - low) / (high - low || 1))); pen.fill(); }
        else { pen.strokeStyle = inked("faint"); pen.stroke(); }
      }
      if (picked >= 0) {
        pen.strokeStyle = inked("c1");
        pen.lineWidth = 2;
        pen.beginPath();
        pen.arc(xs[picked], ys[picked], size + 2, 0, 7);
        pen.stroke();
      }
      ends.replaceChildren(known(low) ? ramp(low, high) : "no values");
    });
    explore(node, () => ({ xs, ys }), (at) => [set.id[at] || `spot ${at + 1}`,
      ...kinds.map((one) => `${one}: ${fixed((set.genes[now][one] || [])[at]) || "none"}`)], (at) => { picked = at; paint(); });
    node.className = "map";
    place.append(el("figure", {}, el("figcaption", {}, set.unit[kind] ? `${kind}, ${set.unit[kind]}` : kind), node,
      ends));
    return paint;
  });
  const again = () => {
    drawn.forEach((paint) => paint());
    const { gene, r } = set.genes[now];
    caption.textContent = known(r) ? `${gene}: r = ${fixed(r)} over the spots shown.` : gene;
  };
  again();
  const both = kinds.length < 2 ? null : el("label", {}, el("input", { type: "checkbox",
    onchange: (event) => { shared = event.target.checked; again(); } }), " one scale for both");
  return el("div", {}, el("h3", {}, set.title), el("div", { class: "tools" },
    choice("Gene", set.genes.map((one) => (known(one.r) ? `${one.gene} (r ${fixed(one.r, 2)})` : one.gene)), (at) => { now = at; again(); }), both), caption, place);
}
