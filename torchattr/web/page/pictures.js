// The picture: the chosen one, thumbnails, and upload by button, drop or paste.

import * as api from "./api.js";
import { arrows, byId, el, fill } from "./dom.js";
import { openFullSize } from "./full_size.js";
import { on, set, state } from "./state.js";

export function startPictures() {
  const box = byId("pictures");
  const file = el("input", { type: "file", id: "file", accept: "image/*", className: "hidden", "aria-label": "Open a picture",
    onchange: () => { open(file.files[0]); file.value = ""; } });
  const current = el("button", { type: "button", className: "picture current", title: "Full size", onclick: () => !state.scores?.regions && openCurrent() });
  const name = el("p", { className: "name" });
  const thumbs = el("div", { className: "thumbs", role: "group", "aria-label": "Pictures" });
  const { upload_bytes: bytes, pixels } = state.model.limits;
  fill(box, el("h2", {}, "Picture"), current, name, thumbs,
    el("button", { type: "button", className: "button drop", onclick: () => file.click() }, "Open or drop a picture"), file,
    el("p", { className: "hint" }, `Up to ${Math.round(bytes / 2 ** 20)} MB and ${Math.round(pixels / 1e6)} megapixels. Stays on this machine.`));
  arrows(thumbs, "button");
  on("pictures picture", () => {
    if (!state.picture) return;
    fill(current, el("img", { src: `api/pictures/${state.picture.id}.png?side=640`, alt: state.picture.name }));
    name.textContent = `${state.picture.name} · ${state.picture.size.join(" × ")}`;
    fill(thumbs, state.pictures.map((picture) => el("button", { type: "button", className: "thumb", title: picture.name,
      "aria-label": picture.name, "aria-pressed": String(picture.id === state.picture.id), onclick: () => set("picture", picture) },
    el("img", { src: `api/pictures/${picture.id}.png?side=96`, alt: "", loading: "lazy" }))));
  });
  dropping();
}

/** Show the chosen picture in full size. */
export const openCurrent = () => state.picture && openFullSize({ title: state.picture.name, image: `api/pictures/${state.picture.id}.png`, npz: `api/results/${state.picture.id}.npz` });

/** Upload a picture and choose it. */
export function open(file) {
  if (!file) return undefined;
  const limit = state.model.limits.upload_bytes;
  if (file.size > limit) {
    api.notify(`${file.name} is too large (${(file.size / 2 ** 20).toFixed(1)} MB); the limit is ${Math.round(limit / 2 ** 20)} MB.`);
    return undefined;
  }
  return api.reporting(async () => {
    const picture = await api.upload(file);
    for (const note of picture.notes) api.notify(note, "note");
    if (!state.pictures.some((other) => other.id === picture.id)) set("pictures", [...state.pictures, picture]);
    set("picture", state.pictures.find((other) => other.id === picture.id));
  });
}

function dropping() {
  let depth = 0;
  const mark = (by) => { depth = by === 0 ? 0 : depth + by; document.body.classList.toggle("dropping", depth > 0); };
  const carries = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  addEventListener("dragenter", (event) => carries(event) && mark(1));
  addEventListener("dragleave", (event) => carries(event) && mark(-1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => { event.preventDefault(); mark(0); open(event.dataTransfer.files[0]); });
  addEventListener("paste", (event) => open([...event.clipboardData.files][0]));
}
