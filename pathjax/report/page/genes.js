function drawGenes(tasks) {
  const place = el("div");
  const draw = (at) => {
    const { task, genes, models } = tasks[at];
    const rows = genes.map((gene, line) => ({ gene, line }));
    const byName = new Map(models.map((model) => [model.name, model]));
    const columns = [{ name: "Gene", key: (row) => row.gene, cell: (row) => row.gene }];
    for (const model of models) {
      columns.push({ name: model.name, below: "r", number: true, key: (row) => model.r[row.line], cell: (row) => fixed(model.r[row.line]) });
    }
    const gains = models.filter((model) => model.base).map((model) => {
      const before = byName.get(model.base).r;
      const gain = model.r.map((after, line) => (known(after) && known(before[line]) ? after - before[line] : null));
      columns.push({ name: `${model.name}, delta`, below: `against ${model.base}`, number: true, key: (row) => gain[row.line],
        cell: (row) => known(gain[row.line]) ? plus(gain[row.line], fixed(gain[row.line])) : "" });
      const both = gain.filter(known);
      return `${model.name}: ${count(both.filter((one) => one > 0).length)} of ${count(both.length)} genes better than ${model.base}.`;
    });
    const pairs = models.filter((model) => model.base).map((model) => ({
      title: `${model.name} against ${model.base}`, x: byName.get(model.base).r, y: model.r, id: genes,
      axes: [`r, ${model.base}`, `r, ${model.name}`], classes: ["gene"], label: genes.map(() => 0), square: true,
    }));
    place.replaceChildren(
      ...gains.map((text) => el("p", {}, text)),
      el("div", { class: "panels" }, ...pairs.map(scatter)),
      table(`Correlation of each gene, ${task}`, columns, rows, { find: (row) => row.gene, first: 50, label: "genes" }));
  };
  section("genes", "Genes", el("p", {}, "Pearson\u2019s r of each gene over the test rows, the mean over seeds."),
    choice("Task", tasks.map((one) => one.task), draw), place);
  draw(0);
}
