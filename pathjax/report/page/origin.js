const STATUS = { clean: "nothing shared", declared: "shared, as the split declares", allowed: "SHARED, accepted by the user",
  unknown: "training patients unknown", "not audited": "not audited" };

function drawAudit(records) {
  const shared = (record) => Object.entries(record.shared).map(([what, ids]) =>
    `${count(ids.length)} ${what}: ${ids.slice(0, 5).join(", ")}${ids.length > 5 ? ", \u2026" : ""}`)
    .concat(Object.entries(record.pretrained_on).map(([what, n]) => `foundation model saw ${what}${typeof n === "number" ? ` (${count(n)} test patients)` : ""}`))
    .join("; ");
  const word = (record) => (record.overlap && record.status !== "allowed" ? "OVERLAP" : STATUS[record.status] || record.status);
  const bad = records.filter((record) => record.overlap).length;
  section("audit", "Audit", el("p", {}, `Training patients against the test patients of each task: ${count(bad)} of ${count(records.length)} records have an overlap that is not declared.`),
    table("Audit records", [
      { name: "Task", key: (record) => record.task, cell: (record) => record.task },
      { name: "Against", key: (record) => record.against, cell: (record) => record.against },
      { name: "Finding", key: word, cell: (record) => el(record.overlap ? "strong" : "span", {}, word(record)) },
      { name: "Shared", cell: shared },
    ], records, { find: (record) => `${record.task} ${record.against} ${word(record)}`, label: "records", first: 50 }));
}

function drawOrigin(origin) {
  const code = (text) => el("code", {}, text ?? "");
  const plainTable = (caption, columns, rows) => table(caption, columns.map(([name, key, wrap]) => ({
    name, key: (row) => row[key], cell: (row) => (wrap ? wrap(row[key]) : String(row[key] ?? "")) })), rows, { label: "rows" });
  section("origin", "Provenance",
    el("h3", {}, "Written by"), plainTable("Results files", [["Folder", "folder", code], ["pathjax", "pathjax"], ["Commit", "git_commit", code],
      ["JAX", "jax"], ["Python", "python"], ["Time", "time"]], origin.written),
    el("h3", {}, "Studies"), plainTable("Studies", [["Study", "study"], ["Fingerprint", "fingerprint", code], ["Data", "data"]],
      origin.studies.map((one) => ({ ...one, data: one.synthetic ? "SYNTHETIC" : "real" }))),
    el("h3", {}, "Models"), plainTable("Models", [["Model", "model"], ["Base", "base"], ["Seed", "seed"], ["Checkpoint", "checkpoint", code]], origin.models),
    el("h3", {}, "Protocols"), plainTable("Protocols", [["Protocol", "protocol"], ["Tasks", "tasks"]],
      origin.protocols.map((one) => ({ ...one, tasks: one.tasks.join(", ") }))),
    origin.configs.length ? el("h3", {}, "Training runs") : null,
    ...origin.configs.map((one) => el("details", {}, el("summary", {}, `${one.run}, ${count(one.lines.length)} settings`),
      el("pre", { tabindex: "0" }, one.lines.join("\n")))));
  section("commands", "Commands", el("p", {}, "Recorded commands, in the order to run them. Repeat training runs from the settings above."),
    ...origin.commands.map((text) => {
      const copy = el("button", { type: "button", onclick: () => {
        getSelection().selectAllChildren(shown);
        const done = document.execCommand("copy"); // the clipboard API is not there for files
        say(done ? "Copied" : "Selected");
        copy.textContent = done ? "Copied" : "Selected";
      } }, "Copy");
      const shown = el("code", {}, text);
      return el("div", { class: "command" }, el("pre", { tabindex: "0" }, shown), copy);
    }));
}
