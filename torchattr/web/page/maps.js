// Entry point of the viewer of a store of maps: pages of pictures, each with its maps.

import * as api from "./api.js";
import { byId, el, fill, segmented, short } from "./dom.js";
import { openFullSize } from "./full_size.js";
import { startTheme } from "./theme.js";

const COUNT = 12;
const view = { shown: "all", text: "", page: 0, total: 0 };
let last = null;

const pages = () => Math.max(1, Math.ceil(view.total / COUNT));
const panel = (picture, cell) => `api/maps/pictures/${picture.position}/panel.png?cell=${cell}`;

function card(picture) {
  const title = picture.label === null ? picture.id : `${picture.id} · ${picture.label}`;
  if (picture.reason) {
    return el("figure", { className: "result" },
      el("figcaption", {}, el("strong", { className: "name" }, title), el("p", { className: "note" }, picture.reason)));
  }
  const image = el("img", { src: panel(picture, 128), alt: `Maps of ${picture.id}`, loading: "lazy",
    onerror: () => image.replaceWith(el("p", { className: "note" }, "The picture itself cannot be read any more.")) });
  return el("figure", { className: "result drawn" },
    el("button", { type: "button", className: "picture", "aria-label": `Show ${picture.id} in full size`,
      onclick: () => openFullSize({ title, image: panel(picture, 448) }) }, image),
    el("figcaption", {}, el("strong", { className: "name" }, title),
      el("p", { className: "note" }, picture.targets.map((one) => `${one.name}: ${short(one.score)}`).join(", "))));
}

async function show() {
  last?.abort();
  last = new AbortController();
  const question = new URLSearchParams({ shown: view.shown, text: view.text, start: view.page * COUNT, count: COUNT });
  const found = await api.reporting(() => api.get(`api/maps/pictures?${question}`, last.signal));
  if (found === undefined) return;
  view.total = found.total;
  fill(byId("pictures"), found.pictures.length ? found.pictures.map(card) : el("p", { className: "empty" }, "No pictures."));
  drawPages();
}

function turn(to) {
  view.page = Math.min(Math.max(to, 0), pages() - 1);
  return show();
}

function drawPages() {
  const button = (text, to, disabled) =>
    el("button", { type: "button", className: "button", disabled, onclick: () => turn(to) }, text);
  const number = el("input", { type: "number", min: 1, max: pages(), value: view.page + 1, "aria-label": "Page",
    onchange: () => turn(Number(number.value) - 1) });
  fill(byId("pages"),
    button("Previous", view.page - 1, view.page === 0),
    el("span", { className: "field" }, number), el("span", { className: "value" }, `of ${pages()} (${view.total} pictures)`),
    button("Next", view.page + 1, view.page + 1 >= pages()));
}

function startSearch(about) {
  const choose = (change) => { Object.assign(view, change, { page: 0 }); show(); };
  const shown = segmented("Which pictures", [
    ["all", `All ${about.done}`, "All pictures that are done"],
    ["done", `With maps ${about.done - about.failed}`, "Those that have maps"],
    ["failed", `Without ${about.failed}`, "Those that have none, with the reason"],
  ], "all", (value) => choose({ shown: value }));
  const text = el("input", { type: "search", placeholder: "Part of an id", "aria-label": "Part of an id" });
  const missing = about.pictures - about.done;
  fill(byId("search"), el("div", { className: "row" }, shown.group, el("span", { className: "field grow" }, text)),
    el("p", { className: "hint" }, `${Object.entries(about.arrays).map(([name, shape]) => `${name} (${shape.join(" × ")})`).join(", ")}`,
      missing ? ` · ${missing} pictures are not done yet` : ""));
  byId("search").addEventListener("submit", (event) => event.preventDefault());
  text.addEventListener("input", () => choose({ text: text.value }));
}

function startKeys() {
  document.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step && event.target === document.body) turn(view.page + step);
  });
}

async function start() {
  startTheme();
  const about = await api.get("api/maps");
  byId("model").textContent = `${about.name}: ${about.done} of ${about.pictures} pictures`;
  document.title = `${about.name} · torchattr`;
  startSearch(about);
  startKeys();
  await show();
}

start().catch((error) => {
  fill(byId("main"), el("p", { className: "empty" }, error.message));
});
