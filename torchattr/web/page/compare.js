// Two maps of one picture over each other, with a slider between them.

import * as address from "./address.js";
import * as api from "./api.js";
import { byId, el, fill } from "./dom.js";

let first = null;
let shown = null;

/** The open comparison, `{ left, right, share }`: two maps, and the percentage that shows the left one; null if none is open. */
export const compared = () => shown && { left: shown.left, right: shown.right, share: Number(shown.slider.value) };

/** Begin a comparison with a map, or end it with a second one; `button` is the one of this map. */
export function comparing(card, button) {
  const begun = first?.card.element.isConnected ? first : null;
  first?.mark(false);
  first = null;
  if (begun?.card === card) return;
  if (begun && begun.card.picture.id !== card.picture.id) {
    api.notify(`Both maps must be of the same picture. The first one is of ${begun.card.picture.name}.`, "note");
  } else if (begun) {
    compare(begun.card, card);
    return;
  }
  const mark = (on) => {
    card.element.classList.toggle("chosen", on);
    button.setAttribute("aria-pressed", String(on));
    button.textContent = on ? "Choose another …" : "Compare";
  };
  first = { card, mark };
  mark(true);
}

/** Lay two maps of one picture over each other; `share` is the percentage that shows the left one. */
export function compare(left, right, share = 50) {
  const dialog = byId("full");
  if (dialog.open) return;
  const [width, height] = [left.canvas.width, left.canvas.height];
  const above = copied(left.canvas, "left");
  const line = el("span", { className: "divider", "aria-hidden": "true" });
  const slider = el("input", { type: "range", min: 0, max: 100, step: 0.5,
    "aria-label": `Share of the picture that shows ${named(left)}`, value: share, oninput: () => divide() });
  const stack = el("div", { className: "stack" }, copied(right.canvas, "right"), above, line, slider);
  const divide = () => {
    stack.style.setProperty("--share", `${slider.value}%`);
    address.changed();
  };
  shown = { left, right, slider };
  dialog.addEventListener("close", () => { shown = null; address.changed(); }, { once: true });
  divide();
  stack.style.setProperty("--ratio", width / height);
  fill(dialog,
    el("header", {}, el("strong", {}, `${left.title} and ${right.title}`), el("span", { className: "grow" }),
      el("button", { type: "button", className: "button", autofocus: true, onclick: () => dialog.close() }, "Close")),
    el("div", { className: "comparison" }, stack,
      el("div", { className: "sides" }, caption(left, "Left"), caption(right, "Right"))));
  dialog.setAttribute("aria-label", `Compare ${named(left)} with ${named(right)}`);
  dialog.onclick = (event) => { if (event.target === dialog) dialog.close(); };
  dialog.showModal();
}

const named = (card) => [card.title, card.detail].filter(Boolean).join(", ");

function copied(canvas, className) {
  const copy = el("canvas", { className, width: canvas.width, height: canvas.height, "aria-hidden": "true" });
  copy.getContext("2d").drawImage(canvas, 0, 0);
  return copy;
}

const caption = (card, side) => el("p", {}, el("span", { className: "more" }, `${side}: `), el("strong", {}, card.title),
  el("span", { className: "more" }, ` ${card.detail ?? ""}`),
  el("span", { className: "legend" }, copied(card.bar, "colourbar"), el("span", { className: "range" }, card.range.textContent)));
