// The parts of a result as elements: maps, pictures, tables, bar charts, figures, texts.

import * as api from "./api.js";
import { el, percent, short } from "./dom.js";
import { openFullSize } from "./full_size.js";
import { resolveStyle } from "./map_style.js";
import { onCanvas, paint, paintBar } from "./render.js";
import { state } from "./state.js";

const SIDE = 640;
const BAR = [128, 12];
const pixels = new Map();

/** Return the pixels of a picture at the size at which maps are drawn; fetched once. */
export function pixelsOf(picture) {
  if (!pixels.has(picture.id)) {
    if (pixels.size > 8) pixels.delete(pixels.keys().next().value);
    const request = decode(`api/pictures/${picture.id}.png?side=${SIDE}`);
    request.catch(() => pixels.delete(picture.id));
    pixels.set(picture.id, request);
  }
  return pixels.get(picture.id);
}

async function decode(path) {
  const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const bitmap = await createImageBitmap(await api.blob(path), options);
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height);
}

/** A map on its picture. Fetches its values once and repaints them in any style. */
export class MapCard {
  constructor(part, picture, options = {}) {
    this.part = part;
    this.picture = picture;
    this.canvas = el("canvas", { role: "img" });
    this.bar = el("canvas", { className: "colourbar", "aria-hidden": "true" });
    this.range = el("span", { className: "range" });
    this.empty = el("p", { className: "nothing", hidden: true });
    this.title = options.title ?? part.title;
    this.detail = options.detail;
    const named = [this.title, this.detail].filter(Boolean).join(", ");
    this.canvas.setAttribute("aria-label", named);
    this.png = el("a", { className: "link", download: "", "aria-label": `Download as PNG: ${named}` }, "PNG");
    const open = el("button", { type: "button", className: "picture", title: "Full size", "aria-label": `Full size: ${named}`,
      onclick: () => this.full() }, this.canvas, this.empty);
    const npz = el("a", { className: "link", href: `api/results/${part.id}.npz`, download: "", "aria-label": `Download as NPZ: ${named}` }, "NPZ");
    this.element = el("figure", { className: "result map", dataset: { id: part.id } }, open,
      el("figcaption", {},
        el("div", { className: "titles" }, el("strong", {}, this.title), this.detail ? el("span", { className: "more" }, this.detail) : null),
        el("div", { className: "legend" }, this.bar, this.range),
        options.note ? el("p", { className: "note" }, options.note) : null,
        el("div", { className: "actions" }, el("span", {}, this.png, npz), options.actions ? el("span", {}, options.actions.map(({ text, run, about }) =>
          el("button", { type: "button", className: "link", title: about, "aria-label": `${text}: ${named}`, onclick: (event) => run(this, event.currentTarget) }, text))) : null)));
  }

  /** Paint in the chosen style; fetches the values the first time. */
  async paint(chosen) {
    this.latest = chosen;
    this.values ??= api.floats(`api/results/${this.part.id}.f32`);
    const [values, picture] = await Promise.all([this.values, pixelsOf(this.picture)]);
    if (this.latest !== chosen) return;
    this.style = resolveStyle(this.part.style, chosen, this.part.shape[0], state.colours);
    const [width, height] = this.part.size;
    const [x, y] = [picture.width / width, picture.height / height];
    const box = this.part.box.map((edge, i) => edge * (i % 2 ? y : x));
    const { data, ...drawn } = paint({ values, shape: this.part.shape, box }, this.style, picture, state.colours);
    onCanvas(this.canvas, data, picture.width, picture.height);
    this.canvas.classList.toggle("small", Math.max(picture.width, picture.height) < 160);
    this.describe(drawn);
  }

  describe({ scale, span }) {
    const { sign } = this.style;
    this.empty.hidden = scale !== 0;
    this.empty.textContent = sign === "negative" ? "No negative values" : sign === "positive" ? "No positive values" : "Zero everywhere";
    onCanvas(this.bar, paintBar(span, this.style, this.part.shape[0], state.colours, ...BAR), ...BAR);
    this.range.textContent = [...new Set(span)].map((end) => endOf(end, scale, sign)).join(" … ");
    this.png.href = this.url();
  }

  url() {
    return `api/results/${this.part.id}.png?${new URLSearchParams(this.style)}`;
  }

  full() {
    if (!this.style) return;
    openFullSize({ title: [this.title, this.detail].filter(Boolean).join(", "), image: this.url(), npz: `api/results/${this.part.id}.npz` });
  }
}

/** Return the value at an end of a colour bar, -1, 0 or 1. */
const endOf = (end, scale, sign) => (end === 0 ? "0" : `${end < 0 || sign === "negative" ? "−" : ""}${short(scale)}`);

/** Return the element of a part, and its card if it is a map. */
export function partElement(part, picture, options = {}) {
  if (part.kind === "map") {
    const card = new MapCard(part, picture, options);
    return { element: card.element, card };
  }
  return { element: ELEMENTS[part.kind](part) };
}

const ELEMENTS = {
  picture: (part) => image(part, `api/results/${part.id}.png`, `api/results/${part.id}.npz`),
  figure: (part) => image(part, `api/results/${part.id}.svg`, null),
  text: (part) => el("section", { className: "result wide" }, heading(part), el("p", {}, part.text)),
  table: (part) => el("section", { className: "result wide" }, table(part)),
  bars: (part) => el("section", { className: "result wide" }, bars(part)),
  ledger: (part) => el("section", { className: "result wide ledger" }, heading(part), el("p", { className: "hint" }, part.note),
    el("div", { className: "columns" }, el("div", {}, bars(part.bars)), el("div", {}, table(part.table)))),
};

// A table that is too wide is scrolled, by keyboard as well.
const table = (part) => [heading(part), el("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": part.title || "Table" },
  el("table", {}, el("thead", {}, el("tr", {}, part.columns.map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, part.rows.map((row) => el("tr", {}, row.map(cell))))))];

const bars = (part) => [heading(part), el("div", { className: "bars" },
  part.labels.map((label, i) => bar(label, part.values[i], part.largest, part.percent, part.smallest)))];

const heading = (part) => (part.title ? el("h3", {}, part.title) : null);

const cell = (value) => (typeof value === "number"
  ? el("td", { className: "number" }, Number.isInteger(value) ? String(value) : short(value))
  : el("td", {}, value === null ? "–" : String(value)));

/** A bar with its label and number; one below zero extends to the left of where zero is. */
export function bar(label, value, largest, asPercent, smallest = 0) {
  const place = (of) => 100 * (Math.min(largest, Math.max(smallest, of)) - smallest) / (largest - smallest);
  const [start, end] = [place(Math.min(0, value ?? 0)), place(Math.max(0, value ?? 0))];
  const fillOf = el("span", { className: value < 0 ? "fill below" : "fill" });
  fillOf.style.width = `${end - start}%`;
  fillOf.style.marginLeft = `${start}%`;
  return el("div", { className: "bar" }, el("span", { className: "label", title: label }, label),
    el("span", { className: "track" }, fillOf),
    el("span", { className: "value" }, asPercent && value !== null ? percent(value) : short(value)));
}

function image(part, url, npz) {
  const img = el("img", { src: url, alt: part.title || "Picture", loading: "lazy" });
  return el("figure", { className: "result drawn" },
    el("button", { type: "button", className: "picture", title: "Full size", onclick: () => openFullSize({ title: part.title, image: url, npz }) }, img),
    el("figcaption", {}, el("strong", {}, part.title), el("div", { className: "actions" },
      el("a", { className: "link", href: url, download: "" }, npz ? "PNG" : "SVG"),
      npz ? el("a", { className: "link", href: npz, download: "" }, "NPZ") : null)));
}

/** A message in place of results. */
export function emptyState(text) {
  return el("p", { className: "empty" }, text);
}

/** The notes of an answer, as a paragraph. */
export function notes(answer) {
  const texts = [answer.note, ...(answer.notes ?? [])].filter(Boolean);
  return texts.length ? el("p", { className: "note" }, texts.join(" · ")) : null;
}
