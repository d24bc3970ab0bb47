const STEP = 200;

// A table that sorts by its headings, searches rows and shows more on request.
// columns: { name, below, key(row), cell(row), number, head }; rows: anything.
function table(caption, columns, rows, { find, foot, first = STEP, label = "rows", attach } = {}) {
  let sorted = rows, shown = first, by = null, down = false, words = [];
  const body = el("tbody");
  const more = el("p", { class: "more" });
  const counted = el("span", { class: "counted" });
  const heads = columns.map((column, at) => {
    const button = el("button", { type: "button", onclick: () => sort(at) }, column.name,
      el("span", { class: "arrow", "aria-hidden": "true" }));
    return el("th", { scope: "col", class: column.number ? "number" : null, "aria-sort": column.key ? "none" : null },
      column.key ? button : column.name,
      column.below ? el("span", { class: "below" }, column.below) : null, column.head || null);
  });

  const line = (row) => el("tr", {}, ...columns.map((column, at) => {
    const content = column.cell(row);
    const attributes = { class: column.number ? "number" : null, scope: at ? null : "row" };
    return el(at ? "td" : "th", attributes, ...(Array.isArray(content) ? content : [content]));
  }));

  function draw() {
    const matches = words.length
      ? sorted.filter((row) => words.some((word) => find(row).toLowerCase().includes(word)))
      : sorted;
    const now = matches.slice(0, shown);
    body.replaceChildren(...now.map(line));
    counted.textContent = `${count(matches.length)} of ${count(rows.length)} ${label}`
      + (now.length < matches.length ? `, ${count(now.length)} shown` : "");
    const grow = (text, to) => el("button", { type: "button", onclick: () => { shown = to; draw(); } }, text);
    more.replaceChildren();
    if (now.length < matches.length) {
      const next = Math.min(STEP, matches.length - now.length);
      more.append(grow(`Show ${count(next)} more`, shown + STEP), grow(`Show all ${count(matches.length)}`, Infinity));
    }
    if (attach) attach(now, body);
  }

  // Descending, ascending, original order; rows without a value stay last.
  function sort(at) {
    const column = columns[at];
    const start = Boolean(column.number);
    if (by !== at) { by = at; down = start; }
    else if (down === start) down = !down;
    else by = null;
    const rank = (a, b) => {
      const one = column.key(a), two = column.key(b);
      if (!known(one) || !known(two)) return known(one) ? -1 : known(two) ? 1 : 0;
      const order = typeof one === "number" ? one - two : ORDER.compare(one, two);
      return down ? -order : order;
    };
    sorted = by === null ? rows : [...rows].sort(rank);
    heads.forEach((head, place) => {
      if (columns[place].key) head.setAttribute("aria-sort", place !== by ? "none" : down ? "descending" : "ascending");
    });
    say(by === null ? "Original order" : `Sorted by ${column.name}, ${down ? "descending" : "ascending"}`);
    draw();
  }

  draw();
  const id = `table-${++numbered}`;
  const search = find && rows.length > 8 ? el("div", { class: "tools" },
    el("label", { for: id }, `Search ${label} `),
    el("input", { id, type: "search", autocomplete: "off", spellcheck: "false",
      oninput: (event) => {
        words = event.target.value.toLowerCase().split(/[\s,;]+/).filter(Boolean);
        shown = first;
        draw();
        say(counted.textContent);
      } }), counted) : null;
  const grid = el("table", {}, el("caption", { class: "unseen" }, caption),
    el("thead", {}, el("tr", {}, ...heads)), body,
    foot ? el("tfoot", {}, ...foot.map(line)) : null);
  // A focusable region: a table that is too wide scrolls by keyboard.
  return el("div", {}, search, el("div", { class: "wide", role: "region", tabindex: "0", "aria-label": caption }, grid), more);
}
const ORDER = new Intl.Collator("en", { numeric: true });
