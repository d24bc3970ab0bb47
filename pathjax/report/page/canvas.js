const redraw = [];
document.addEventListener("theme", () => redraw.forEach((draw) => draw()));

// The CSS colour of a class of page.css, for drawing on a canvas.
function inked(name) {
  const probe = el("span", { class: name });
  document.body.append(probe);
  const ink = getComputedStyle(probe).color;
  probe.remove();
  return ink;
}

// A canvas as wide as its container, in device pixels; redrawn when the width changes.
function board(label, ratio, draw) {
  const node = el("canvas", { role: "img", "aria-label": label, tabindex: "0" });
  node.style.aspectRatio = `1 / ${ratio}`; // also in print, where it is not redrawn
  const paint = () => {
    const wide = node.clientWidth;
    if (!wide) return;
    const tall = Math.round(wide * ratio), sharp = devicePixelRatio || 1;
    node.width = wide * sharp;
    node.height = tall * sharp;
    const pen = node.getContext("2d");
    pen.scale(sharp, sharp);
    draw(pen, wide, tall);
  };
  redraw.push(() => node.isConnected && paint());
  let last = 0;
  new ResizeObserver(() => { if (node.clientWidth !== last) { last = node.clientWidth; paint(); } }).observe(node);
  return { node, paint };
}

// The nearest mark within `reach` pixels; a linear search over 20,000 takes 0.1 ms.
function nearest(xs, ys, x, y, reach) {
  let best = -1, least = reach * reach;
  for (let at = 0; at < xs.length; at++) {
    const gap = (xs[at] - x) ** 2 + (ys[at] - y) ** 2;
    if (gap < least) { least = gap; best = at; }
  }
  return best;
}

// Pointer and arrow keys select a mark; `lines(at)` is the text of its tooltip.
function explore(node, spots, lines, picked) {
  let now = -1;
  const show = (at) => {
    if (at === now) return;
    now = at;
    picked(at);
    if (at < 0) return hideTip();
    const { left, top } = node.getBoundingClientRect(), { xs, ys } = spots();
    showTip(lines(at), left + xs[at], top + ys[at]);
  };
  const at = (event) => {
    const { left, top } = node.getBoundingClientRect(), { xs, ys } = spots();
    show(nearest(xs, ys, event.clientX - left, event.clientY - top, 14));
  };
  node.addEventListener("pointermove", at);
  node.addEventListener("pointerdown", at);
  node.addEventListener("pointerleave", () => show(-1));
  node.addEventListener("blur", () => show(-1));
  node.addEventListener("keydown", (event) => {
    const step = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key];
    if (!step) return;
    event.preventDefault();
    const { xs, ys } = spots();
    if (now < 0) show(nearest(xs, ys, node.clientWidth / 2, node.clientHeight / 2, Infinity));
    else {
      // The nearest mark in that direction, preferring those straight ahead.
      let best = -1, least = Infinity;
      for (let i = 0; i < xs.length; i++) {
        const dx = xs[i] - xs[now], dy = ys[i] - ys[now];
        const ahead = dx * step[0] + dy * step[1], aside = Math.abs(dx * step[1]) + Math.abs(dy * step[0]);
        if (ahead > 0 && ahead + 2 * aside < least) { least = ahead + 2 * aside; best = i; }
      }
      if (best >= 0) show(best);
    }
    if (now >= 0) say(lines(now).join(", "));
  });
}

function extent(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) if (known(value)) { low = Math.min(low, value); high = Math.max(high, value); }
  return [low, high];
}

// Cividis (Nunez, Anderton, Renslow 2018), nine of its 256 steps: even in lightness, and
// readable with colour-vision deficiency.
const CIVIDIS = [[0, 34, 78], [8, 51, 112], [53, 69, 108], [79, 87, 108], [102, 105, 112], [125, 124, 120], [152, 144, 115], [188, 175, 91], [254, 232, 56]];
function heat(part) {
  const at = Math.max(0, Math.min(1, part)) * (CIVIDIS.length - 1), below = Math.min(Math.floor(at), CIVIDIS.length - 2);
  return CIVIDIS[below].map((one, i) => Math.round(one + (at - below) * (CIVIDIS[below + 1][i] - one)));
}
const rgb = (ink) => `rgb(${ink.join(",")})`;
const ramp = (low, high) => el("p", { class: "below" }, el("span", { class: "ramp", "aria-hidden": "true" }),
  ` ${minus(low.toPrecision(3))} to ${minus(high.toPrecision(3))}`);
