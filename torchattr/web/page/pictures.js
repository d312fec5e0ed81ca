// The picture: the chosen one, thumbnails, and upload by button, drop or paste.

import * as address from "./address.js";
import * as api from "./api.js";
import { arrows, byId, el, fill } from "./dom.js";
import { openFullSize } from "./full_size.js";
import { on, set, state } from "./state.js";

export function startPictures() {
  const box = byId("pictures");
  const file = el("input", { type: "file", id: "file", accept: "image/*", multiple: true, className: "hidden", "aria-label": "Open pictures",
    onchange: () => { openAll([...file.files]); file.value = ""; } });
  const current = el("button", { type: "button", className: "picture current", title: "Full size", onclick: () => !state.scores?.regions && openCurrent() });
  const name = el("p", { className: "name" });
  const thumbs = el("div", { className: "thumbs", role: "group", "aria-label": "Pictures" });
  const { upload_bytes: bytes, pixels } = state.model.limits;
  fill(box, el("h2", {}, "Picture"), current, name, thumbs,
    el("button", { type: "button", className: "button drop", onclick: () => file.click() }, "Open or drop pictures"), file,
    el("p", { id: "opening", className: "hint", role: "status" }),
    el("p", { className: "hint limits" }, `Up to ${Math.round(bytes / 2 ** 20)} MB and ${Math.round(pixels / 1e6)} megapixels each. They stay on this machine.`));
  arrows(thumbs, "button");
  address.keep("picture", () => state.picture?.id);
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

/** Upload pictures one after another, and choose the first of them. */
export async function openAll(files) {
  let chosen = null;
  for (const [at, file] of files.entries()) {
    if (files.length > 1) byId("opening").textContent = `Opening ${at + 1} of ${files.length}: ${file.name}`;
    const picture = await api.reporting(() => open(file));
    chosen ??= picture;
  }
  byId("opening").textContent = "";
  if (chosen) set("picture", state.pictures.find((other) => other.id === chosen.id));
}

async function open(file) {
  const limit = state.model.limits.upload_bytes;
  if (file.size > limit) {
    throw new Error(`${file.name} is too large (${(file.size / 2 ** 20).toFixed(1)} MB); the limit is ${Math.round(limit / 2 ** 20)} MB.`);
  }
  const picture = await api.upload(file);
  for (const note of picture.notes) api.notify(note, "note");
  if (!state.pictures.some((other) => other.id === picture.id)) set("pictures", [...state.pictures, picture]);
  return picture;
}

function dropping() {
  let depth = 0;
  const mark = (by) => { depth = by === 0 ? 0 : depth + by; document.body.classList.toggle("dropping", depth > 0); };
  const carries = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  addEventListener("dragenter", (event) => carries(event) && mark(1));
  addEventListener("dragleave", (event) => carries(event) && mark(-1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => { event.preventDefault(); mark(0); openAll([...event.dataTransfer.files]); });
  addEventListener("paste", (event) => openAll([...event.clipboardData.files]));
}
