const NAMES = { genes: "Genes", curves: "Learning curves", points: "Embeddings", grids: "Heat maps", maps: "Spot maps", audit: "Audit", origin: "Provenance" };
const DRAW = { table: drawTable, genes: drawGenes, curves: drawCurves, points: drawPoints, grids: drawGrids, maps: drawMaps, audit: drawAudit, origin: drawOrigin };

const toggle = el("button", { type: "button", onclick: () => document.dispatchEvent(new Event("choose-theme")) });
const label = () => { toggle.textContent = document.documentElement.dataset.theme === "dark" ? "Light" : "Dark"; };
document.addEventListener("theme", label);
label();
document.querySelector("header").append(
  el("div", {}, el("h1", {}, data.title), el("p", {}, `pathjax ${data.pathjax}, ${data.made.replace("T", " ").replace("+00:00", "")} UTC`)), toggle);
if (data.origin && data.origin.studies.some((study) => study.synthetic)) {
  main.append(el("p", { class: "warning" }, "Synthetic data: nothing on this page describes real patients."));
}
for (const [name, draw] of Object.entries(DRAW)) if (data[name]) draw(data[name]);
if (data.absent.length) {
  section("absent", "Not in this report", el("dl", {}, ...data.absent.flatMap(([name, source]) => [el("dt", {}, NAMES[name]), el("dd", {}, source)])));
}
document.querySelector("footer").append(el("p", {}, "This page is a single file and makes no network requests."));
document.documentElement.dataset.ready = "";
