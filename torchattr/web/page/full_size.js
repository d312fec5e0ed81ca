// A dialog that shows a picture in full size.

import { byId, el, fill } from "./dom.js";

export function openFullSize({ title, image, npz }) {
  const dialog = byId("full");
  const wait = el("span", { className: "spinner", "aria-label": "Loading" });
  const picture = el("img", { src: image, alt: title, onload: () => wait.remove(),
    onerror: () => fill(wait, "This picture has expired; compute it again.") });
  fill(dialog,
    el("header", {}, el("strong", {}, title), el("span", { className: "grow" }),
      el("a", { className: "button", href: image, download: "" }, image.endsWith(".svg") ? "SVG" : "PNG"),
      npz ? el("a", { className: "button", href: npz, download: "" }, "NPZ") : null,
      el("button", { type: "button", className: "button", autofocus: true, onclick: () => dialog.close() }, "Close")),
    el("div", { className: "canvas" }, wait, picture));
  dialog.onclick = (event) => { if (event.target === dialog) dialog.close(); };
  dialog.showModal();
}
