const metricLabel = (metric) => data.labels[metric] || metric;
// Models, and classes of an embedding, differ in colour and in shape.
const COLOURS = 8;
const SHAPES = [
  (x, y, r) => `M${x - r},${y}a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0`,
  (x, y, r) => `M${x - r},${y - r}h${2 * r}v${2 * r}h${-2 * r}z`,
  (x, y, r) => `M${x},${y - 1.2 * r}l${1.2 * r},${2.2 * r}h${-2.4 * r}z`,
  (x, y, r) => `M${x},${y - 1.4 * r}l${1.3 * r},${1.4 * r}l${-1.3 * r},${1.4 * r}l${-1.3 * r},${-1.4 * r}z`,
  (x, y, r) => `M${x},${y + 1.2 * r}l${1.2 * r},${-2.2 * r}h${-2.4 * r}z`,
];
const colour = (at) => `c${at % COLOURS}`;
const shape = (at) => SHAPES[(at + Math.floor(at / COLOURS)) % SHAPES.length];
const mark = (at, hollow = false) => svg("svg", { class: `mark ${colour(at)}${hollow ? " hollow" : ""}`, "aria-hidden": "true" },
  svg("path", { d: shape(at)(7, 7, 4) }));

// Ticks at steps of 1, 2 or 5 times a power of ten, with as many digits as needed.
function ticks(low, high, target) {
  const rough = (high - low) / target || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((by) => by * power >= rough);
  const places = Math.max(0, -Math.floor(Math.log10(step) + 1e-9)), out = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-9; at++) {
    out.push({ value: at * step, odd: at % 2 !== 0, text: minus((at * step).toFixed(places)) });
  }
  return out;
}

const tested = (cell) => (known(cell.p_holm) ? cell.p_holm : cell.p);
const titled = (cell) => cell.task + (cell.optimistic ? " \u2020" : "");

// An error, where lower is better, is shown in its own unit; all else in percent.
const isError = (task) => data.table.errors.includes(task);
const score = (task) => (isError(task) ? (value) => fixed(value) : percent);
const change = (task) => (isError(task) ? (value) => (known(value) ? plus(value, fixed(value)) : "") : points);

// Table 1 with the tasks as rows, so that a column sorts and a phone has room.
function drawTable(tabled) {
  const cells = tabled.cells, models = [...new Set(cells.map((cell) => cell.model))];
  const at = new Map(cells.map((cell) => [JSON.stringify([cell.model, cell.task]), cell]));
  const get = (model, task) => at.get(JSON.stringify([model, task]));
  const rows = tabled.tasks.map((task) => ({ task, any: cells.find((cell) => cell.task === task) })).filter((row) => row.any);
  const shown = (cell) => {
    if (!cell) return "";
    const isDelta = known(cell.delta);
    const number = isDelta ? change(cell.task)(cell.delta) + cell.mark : (cell.base ? "=" : "") + score(cell.task)(cell.value);
    const interval = isDelta ? range(cell.delta_low, cell.delta_high, change(cell.task)) : range(cell.value_low, cell.value_high, score(cell.task));
    return [el(cell.bold ? "strong" : "span", {}, number), interval ? el("span", { class: "below" }, interval) : null];
  };
  const columns = [
    { name: "Task", key: (row) => row.task, cell: (row) => row.any ? [titled(row.any), el("span", { class: "below" },
      [metricLabel(row.any.metric), known(row.any.chance) ? `chance ${score(row.task)(row.any.chance)}` : null,
        known(row.any.n) ? `n ${count(row.any.n)}` : null].filter(Boolean).join(", "))] : row.task },
    ...models.map((model) => {
      const base = cells.find((cell) => cell.model === model).base;
      return { name: model, below: base ? `delta against ${base}, points` : "percent", number: true,
        key: (row) => { const cell = get(model, row.task); return cell && (known(cell.delta) ? cell.delta : cell.value); },
        cell: (row) => shown(get(model, row.task)) };
    }),
  ];
  const mean = cells.some((cell) => cell.task === "mean delta") ? [{ task: "mean delta" }] : null;
  const alone = cells.some((cell) => cell.base && known(cell.value) && !known(cell.delta));
  section("table", "Table 1", table("Table 1: base values and deltas", columns, rows, { foot: mean, label: "tasks" }),
    el("ul", { class: "notes" }, ...tabled.notes.map((note) => el("li", {}, note)),
      alone ? el("li", {}, "=: the tuned model\u2019s own value in percent; its base has none.") : null));
  const order = [...tabled.tasks, "mean delta"];
  const deltas = cells.filter((cell) => known(cell.delta)).sort((a, b) => order.indexOf(a.task) - order.indexOf(b.task));
  if (deltas.length) drawForest(deltas, models);
}

function drawForest(deltas, models) {
  const tuned = models.filter((model) => deltas.some((cell) => cell.model === model));
  const ends = deltas.flatMap((cell) => [cell.delta, cell.delta_low, cell.delta_high]).filter(known).concat(0);
  const margin = (Math.max(...ends) - Math.min(...ends)) * 0.06 || 0.01;
  const low = Math.min(...ends) - margin, high = Math.max(...ends) + margin;
  const place = (value) => `${(100 * (value - low)) / (high - low)}%`;
  const zero = () => svg("line", { x1: place(0), x2: place(0), y1: 0, y2: "100%", class: "zero" });
  const bar = (cell) => {
    const number = tuned.indexOf(cell.model);
    const words = `${change(cell.task)(cell.delta)} ${range(cell.delta_low, cell.delta_high, change(cell.task))}`;
    return svg("svg", { class: `bar ${colour(number)}`, role: "img", "aria-label": words }, zero(),
      known(cell.delta_low) ? svg("line", { x1: place(cell.delta_low), x2: place(cell.delta_high), y1: "50%", y2: "50%", class: "whisker" }) : null,
      svg("svg", { x: place(cell.delta), y: "50%", overflow: "visible", class: cell.bold ? null : "hollow" },
        svg("path", { d: shape(number)(0, 0, 4.5) })));
  };
  const axis = svg("svg", { class: "bar axis", "aria-hidden": "true" }, ...ticks(100 * low, 100 * high, 6).map(({ value, odd, text }) =>
    svg("text", { x: place(value / 100), y: 13, "text-anchor": "middle", class: odd ? "odd" : null }, plus(value, text))));
  const columns = [
    { name: "Task", key: (cell) => cell.task, cell: (cell) => [cell.task === "mean delta" ? el("strong", {}, titled(cell)) : titled(cell),
      el("span", { class: "below" }, mark(tuned.indexOf(cell.model)), `${cell.model} against ${cell.base}${isError(cell.task) ? ", drawn x 100" : ""}`)] },
    { name: "Interval", head: axis, cell: bar },
    { name: "Delta", below: "points", number: true, key: (cell) => cell.delta, cell: (cell) => [
      el(cell.bold ? "strong" : "span", {}, change(cell.task)(cell.delta) + cell.mark),
      el("span", { class: "below" }, range(cell.delta_low, cell.delta_high, change(cell.task)))] },
    ...deltas.some((cell) => known(cell.p)) ? [{ name: "p", below: "Holm; uncorrected below", number: true, key: tested, cell: (cell) => [chanceOf(tested(cell)),
      known(cell.p_holm) ? el("span", { class: "below" }, chanceOf(cell.p)) : null,
      known(cell.q) ? el("span", { class: "below" }, `q ${chanceOf(cell.q)}`) : null] }] : [],
  ];
  section("deltas", "Deltas", el("p", {}, "Tuned minus base, in percentage points, with 95 % intervals. "
    + "A filled mark has a * and an interval that excludes 0; marks are explained below Table 1."),
  table("Deltas with intervals", columns, deltas, { find: (cell) => `${cell.task} ${cell.model}`, label: "deltas" }));
}
