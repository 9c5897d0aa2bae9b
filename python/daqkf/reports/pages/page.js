// Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"use strict";
// A graph is moved and zoomed by its viewBox; without this script all of it is seen.
for (const svg of document.querySelectorAll("svg.zoom")) {
  const figure = svg.closest("figure"), detail = figure.querySelector(".detail");
  const width = Number(svg.dataset.width), height = Number(svg.dataset.height);
  const least = 60, view = { x: 0, y: 0, w: width, h: height };
  const fingers = new Map();
  let moved = 0, begun = false;
  const show = () => svg.setAttribute("viewBox", `${view.x} ${view.y} ${view.w} ${view.h}`);
  const box = () => svg.getBoundingClientRect();
  // Units of the graph for a pixel, and the place of a point of the screen.
  const unit = () => Math.max(view.w / box().width, view.h / box().height);
  const at = (x, y) => {
    const b = box(), u = unit();
    return [view.x + view.w / 2 + (x - b.left - b.width / 2) * u, view.y + view.h / 2 + (y - b.top - b.height / 2) * u];
  };
  const fit = () => { Object.assign(view, { x: 0, y: 0, w: width, h: height }); show(); };
  const zoom = (factor, x, y) => {
    const most = 1.5 * Math.max(width, height, box().width, box().height);
    const f = Math.min(Math.max(factor, least / Math.max(view.w, view.h)), most / Math.max(view.w, view.h));
    view.x = x - (x - view.x) * f; view.y = y - (y - view.y) * f;
    view.w *= f; view.h *= f; show();
  };
  const middle = () => [view.x + view.w / 2, view.y + view.h / 2];
  const move = (x, y) => { view.x += x; view.y += y; show(); };
  // At first letters have their own size, or the graph is seen whole where that is larger.
  const begin = () => {
    const b = box();
    if (begun || !b.width) return;
    begun = true;
    const x = width <= b.width ? (width - b.width) / 2 : Math.min(Math.max(Number(svg.dataset.begin) - b.width / 2, 0), width - b.width);
    Object.assign(view, { x, y: height <= b.height ? (height - b.height) / 2 : 0, w: b.width, h: b.height });
    show();
  };
  new ResizeObserver(begin).observe(svg);
  svg.addEventListener("wheel", (event) => {
    // The page scrolls over graphs that nobody works with.
    if (document.activeElement !== svg && !event.ctrlKey) return;
    event.preventDefault();
    zoom(Math.exp(Math.sign(event.deltaY) * Math.min(Math.abs(event.deltaY), 60) / 300), ...at(event.clientX, event.clientY));
  }, { passive: false });
  svg.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, [event.clientX, event.clientY]); moved = 0;
  });
  svg.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY], u = unit();
    if (fingers.size === 1) {
      move((before[0] - now[0]) * u, (before[1] - now[1]) * u);
    } else {
      const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
      const far = (p) => Math.hypot(p[0] - other[0], p[1] - other[1]) || 1;
      zoom(far(before) / far(now), ...at((now[0] + other[0]) / 2, (now[1] + other[1]) / 2));
    }
    moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
    if (moved > 6 && !svg.hasPointerCapture(event.pointerId)) svg.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, now);
  });
  for (const name of ["pointerup", "pointercancel", "pointerleave"]) svg.addEventListener(name, (event) => fingers.delete(event.pointerId));
  svg.addEventListener("click", (event) => {
    if (moved > 6) { event.preventDefault(); return; }
    const node = event.target.closest(".node");
    for (const old of svg.querySelectorAll(".chosen")) old.classList.remove("chosen");
    if (!node) return;
    node.classList.add("chosen");
    detail.textContent = node.querySelector("title").textContent;
  });
  svg.addEventListener("keydown", (event) => {
    const step = 40 * unit();
    const keys = {
      ArrowLeft: () => move(-step, 0), ArrowRight: () => move(step, 0), ArrowUp: () => move(0, -step), ArrowDown: () => move(0, step),
      "+": () => zoom(0.8, ...middle()), "=": () => zoom(0.8, ...middle()), "-": () => zoom(1.25, ...middle()), 0: fit,
    };
    if (event.target !== svg || event.ctrlKey || event.metaKey || !(event.key in keys)) return;
    event.preventDefault(); keys[event.key]();
  });
  const acts = { in: () => zoom(0.7, ...middle()), out: () => zoom(1.4, ...middle()), fit };
  for (const button of figure.querySelectorAll("button")) button.addEventListener("click", acts[button.dataset.do]);
  // On paper the whole graph is seen, and behind that what was seen before.
  let before = null;
  addEventListener("beforeprint", () => { before = { ...view }; fit(); });
  addEventListener("afterprint", () => { if (before) { Object.assign(view, before); show(); } });
}
const unfold = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const part = target && target.closest("details");
  if (part) { part.open = true; part.scrollIntoView(); }
};
addEventListener("hashchange", unfold);
unfold();
