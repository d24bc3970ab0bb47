function drawGrids(sets) {
  const node = section("grids", "Heat maps", el("p", {}, "The shade repeats the number, from chance (or the lowest value, if lower) to 100."));
  for (const set of sets) {
    const [least, most] = extent(set.cells.map((cell) => cell.value));
    const low = Math.min(least, extent(set.cells.map((cell) => cell.chance))[0]), high = Math.max(most, 1);
    const at = new Map(set.cells.map((cell) => [JSON.stringify([cell.row, cell.column]), cell]));
    const detail = (cell) => [metricLabel(cell.metric), known(cell.chance) ? `chance ${percent(cell.chance)}` : null,
      known(cell.n) ? `n ${count(cell.n)}` : null].filter(Boolean).join(", ");
    // What holds for all cells of a column is said once, in its heading.
    const heads = new Map(set.columns.map((column) => {
      const texts = new Set(set.cells.filter((cell) => cell.column === column).map(detail));
      return [column, texts.size === 1 ? [...texts][0] : ""];
    }));
    const shown = (row, column) => {
      const cell = at.get(JSON.stringify([row, column]));
      if (!cell || !known(cell.value)) return el("td", { class: "number" });
      const ink = heat((cell.value - low) / (high - low || 1)), more = heads.get(column) ? "" : detail(cell);
      const box = el("td", { class: "number heat" }, percent(cell.value), el("span", { class: "below" }, range(cell.low, cell.high, percent)),
        more ? el("span", { class: "below" }, more) : null);
      box.style.background = rgb(ink);
      // Relative luminance of WCAG 2.2; black on what is brighter than 0.179, else white.
      const [r, g, b] = ink.map((one) => (one / 255 <= 0.04045 ? one / 255 / 12.92 : ((one / 255 + 0.055) / 1.055) ** 2.4));
      box.style.color = 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000" : "#fff";
      return box;
    };
    node.append(el("h3", {}, set.title), el("div", { class: "wide", role: "region", tabindex: "0", "aria-label": set.title }, el("table", {},
      el("caption", { class: "unseen" }, `${set.title}, percent`),
      el("thead", {}, el("tr", {}, el("td"), ...set.columns.map((name) => el("th", { scope: "col", class: "number" }, name,
        heads.get(name) ? el("span", { class: "below" }, heads.get(name)) : null)))),
      el("tbody", {}, ...set.rows.map((row) => el("tr", {}, el("th", { scope: "row" }, row), ...set.columns.map((column) => shown(row, column))))))));
  }
}
