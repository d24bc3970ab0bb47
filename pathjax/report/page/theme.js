// Before anything is drawn: the reader's last choice, or the system's.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  try { chosen = localStorage.getItem("pathjax-theme"); } catch { /* file: may refuse */ }
  const show = (theme) => {
    document.documentElement.dataset.theme = theme;
    document.dispatchEvent(new Event("theme"));
  };
  show(["dark", "light"].includes(chosen) ? chosen : dark.matches ? "dark" : "light");
  dark.addEventListener("change", () => { if (!chosen) show(dark.matches ? "dark" : "light"); });
  document.addEventListener("choose-theme", () => {
    chosen = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("pathjax-theme", chosen); } catch { /* as above */ }
    show(chosen);
  });
  let before = null;
  addEventListener("beforeprint", () => {
    before = document.documentElement.dataset.theme;
    show("light");
  });
  addEventListener("afterprint", () => show(before));
})();
