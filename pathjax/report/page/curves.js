const LOSS = ["train/loss", "val/loss"];

function panel({ run, series }, names) {
  const there = names.filter((name) => series[name]);
  if (!there.length) return null;
  const all = there.map((name) => series[name]);
  const xs = all.flatMap(([steps]) => steps), ys = all.flatMap(([, values]) => values).filter(known);
  const [left, right] = [Math.min(...xs), Math.max(...xs)];
  let [low, high] = [Math.min(...ys), Math.max(...ys)];
  if (low === high) { low -= 0.5; high += 0.5; }
  const px = (step) => (right === left ? 50 : (100 * (step - left)) / (right - left));
  const py = (value) => 100 - (100 * (value - low)) / (high - low);
  const drawn = svg("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", class: "plot", "aria-hidden": "true" });
  all.forEach(([steps, values], at) => {
    const spots = steps.map((step, i) => [step, values[i]]).filter(([, value]) => known(value)).map(([step, value]) => [px(step), py(value)]);
    drawn.append(svg("path", { class: `${colour(at)} line ${at ? "dashed" : ""}`, d: `M${spots.map((spot) => spot.join(",")).join("L")}` }));
    // A path of no length with round ends is a dot that does not stretch.
    if (spots.length <= 40) drawn.append(svg("path", { class: `${colour(at)} dots`, d: spots.map((spot) => `M${spot.join(",")}h0`).join("") }));
  });
  const short = (value) => minus(String(+value.toPrecision(3)));
  const label = (kind, at, text) => {
    const node = el("span", { class: kind }, text);
    node.style[kind === "x" ? "left" : "top"] = `${at}%`;
    return node;
  };
  const legend = there.map((name, at) => {
    const [steps, values] = series[name];
    return el("li", {}, svg("svg", { class: `key ${colour(at)}`, "aria-hidden": "true" },
      svg("line", { x1: 0, x2: 24, y1: 7, y2: 7, class: `line ${at ? "dashed" : ""}` })),
    `${name}: ${short(values.findLast(known) ?? NaN)} at step ${count(steps.at(-1))}`);
  });
  return el("figure", {}, el("figcaption", {}, run),
    el("div", { class: "axes" }, drawn, ...ticks(low, high, 4).map(({ value, text }) => label("y", py(value), text)),
      ...ticks(left, right, 4).map(({ value, text }) => label("x", px(value), text))),
    el("ul", { class: "legend" }, ...legend));
}

function drawCurves(runs) {
  const others = [...new Set(runs.flatMap((run) => Object.keys(run.series)))].sort();
  const options = [LOSS, ...others.map((name) => [name])];
  const place = el("div", { class: "panels" });
  const draw = (at) => place.replaceChildren(...runs.map((run) => panel(run, options[at])).filter(Boolean));
  section("curves", "Learning curves", choice("Show", ["loss, training and validation", ...others], draw), place);
  draw(0);
}
