// Regions of the picture as targets: click a segment or a detected box, or draw a box.

import { byId, el, fill, percent } from "./dom.js";
import { openCurrent } from "./pictures.js";
import { on, set, state } from "./state.js";

const DRAG = 6;

const HOW = {
  positions: "Click a segment to explain it, or draw a box to explain the chosen class there.",
  boxes: "Click a detected box to explain it, or draw a box around one.",
};

export function startRegions() {
  const current = byId("pictures").querySelector(".current");
  const list = el("div", { className: "chips detections", role: "group", "aria-label": "Detected boxes" });
  const how = el("p", { className: "hint" });
  const full = el("button", { type: "button", className: "link", onclick: openCurrent }, "Full size");
  const controls = el("div", { className: "regions", hidden: true }, how, list, full);
  let start = null;
  let drawn = null;
  current.after(controls);
  on("picture", () => { controls.hidden = true; delete current.dataset.regions; });
  on("scores target", show);
  new ResizeObserver(show).observe(current);
  current.addEventListener("load", show, true);
  current.addEventListener("dragstart", (event) => event.preventDefault());
  current.addEventListener("pointerdown", (event) => {
    if (!current.dataset.regions || event.button !== 0) return;
    start = at(event);
    current.setPointerCapture(event.pointerId);
  });
  current.addEventListener("pointermove", (event) => {
    if (!start) return;
    drawn = moved(event) ? around(start, at(event)) : null;
    show();
  });
  current.addEventListener("pointerup", (event) => {
    if (!start) return;
    const region = moved(event) ? around(start, at(event)).box : start.point;
    start = drawn = null;
    choose(region, region.length === 4 ? "the drawn box" : "the clicked place");
  });
  current.addEventListener("pointercancel", () => { start = drawn = null; show(); });

  /** Return where a pointer is: on the screen, and in pixels of the picture. */
  function at(event) {
    const shown = extent();
    const frame = current.getBoundingClientRect();
    const inside = (value, size) => Math.min(size, Math.max(0, value));
    const x = inside((event.clientX - frame.left - shown.left) / shown.scale, state.picture.size[0]);
    const y = inside((event.clientY - frame.top - shown.top) / shown.scale, state.picture.size[1]);
    return { point: [x, y], screen: [event.clientX, event.clientY] };
  }

  const moved = (event) => Math.hypot(event.clientX - start.screen[0], event.clientY - start.screen[1]) > DRAG;

  /** Return the place of the picture within its button, in which it may be letterboxed. */
  function extent() {
    const image = current.querySelector("img");
    const [width, height] = state.picture.size;
    const scale = Math.min(image.clientWidth / width, image.clientHeight / height);
    return { scale, left: image.offsetLeft + (image.clientWidth - width * scale) / 2,
      top: image.offsetTop + (image.clientHeight - height * scale) / 2 };
  }

  function show() {
    const { scores, target, picture } = state;
    current.querySelectorAll(".region").forEach((one) => one.remove());
    if (!scores?.regions || !picture || !current.querySelector("img")) {
      controls.hidden = true;
      return;
    }
    controls.hidden = false;
    current.dataset.regions = scores.regions;
    current.title = HOW[scores.regions];
    how.textContent = HOW[scores.regions];
    fill(list, scores.boxes.map((one) => el("button", { type: "button", className: "chip", "aria-pressed": String(same(target, one.box)),
      onclick: () => choose(one.box, one.name) }, `${one.name} ${percent(one.score)}`)));
    list.hidden = scores.boxes.length === 0;
    for (const one of scores.boxes) frame(one.box, "found");
    if (target?.region) frame(target.region, "chosen");
    if (drawn) frame(drawn.box, "chosen");
  }

  function frame(region, kind) {
    const { scale, left, top } = extent();
    const [x1, y1, x2 = x1, y2 = y1] = region;
    const mark = el("span", { className: `region ${kind}${region.length === 2 ? " point" : ""}`, "aria-hidden": "true" });
    Object.assign(mark.style, { left: `${left + x1 * scale}px`, top: `${top + y1 * scale}px`,
      width: `${(x2 - x1) * scale}px`, height: `${(y2 - y1) * scale}px` });
    current.append(mark);
  }

  function choose(region, name) {
    state.keepTarget = false;
    set("target", { index: state.target?.index ?? null, name, region });
  }
}

const around = (first, second) => ({ box: [0, 1].map((i) => Math.min(first.point[i], second.point[i]))
  .concat([0, 1].map((i) => Math.max(first.point[i], second.point[i]))) });

const same = (target, box) => Boolean(target?.region) && target.region.every((edge, i) => edge === box[i]);
