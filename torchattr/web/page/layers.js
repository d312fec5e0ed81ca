// The Layers tab: the feature maps of a layer in pages, and back-projections of one map.

import * as address from "./address.js";
import * as api from "./api.js";
import { arrows, byId, el, fill, keepHeight, segmented, short } from "./dom.js";
import { openFullSize } from "./full_size.js";
import { StyleControls } from "./map_style.js";
import { onCanvas, paintPlane } from "./render.js";
import { emptyState, partElement } from "./parts.js";
import { waiting } from "./progress.js";
import { ofModel, on, set, state } from "./state.js";

const PAGE = 48;
const RULES = [["deconvolution", "Deconvnet"], ["guided", "Guided"], ["gradient", "Gradient"]];
const SHARED = "shared";
const ORDERS = [["channel", "By index"], ["largest", "By maximum"], ["mean", "By mean"]];

export function startLayers() {
  const now = { layer: null, call: 1, maps: null, page: 0, shared: address.opened.scale === SHARED, cmap: address.opened.cmap ?? "", channel: null, position: null,
    order: among(ORDERS, address.opened.order), rule: among(RULES, address.opened.rule) };
  const nextMaps = api.latest();
  const nextPage = api.latest();
  const nextProjection = api.latest();
  let cards = [];
  let planes = new Map();

  const filter = el("input", { type: "search", placeholder: "Filter layers", "aria-label": "Filter layers by name", oninput: drawList });
  const list = el("div", { className: "layerlist", role: "group", "aria-label": "Layers" });
  const title = el("h2", {});
  const calls = el("select", { "aria-label": "Call", onchange: () => { now.call = Number(calls.value); load(); } });
  const tools = el("div", { className: "stylebar" });
  const grid = el("div", { className: "maps", role: "group", "aria-label": "Feature maps" });
  const pager = el("div", { className: "row pager" });
  const detail = el("section", { className: "detail", "aria-label": "Back-projections" });
  fill(byId("layers"), el("div", { className: "split" },
    el("div", { className: "card" }, el("h2", {}, "Layers"), filter, list),
    el("div", { className: "card" }, el("div", { className: "row" }, title, el("span", { className: "grow" }), calls), tools, grid, pager)));
  arrows(list, "button:not([disabled])");
  arrows(grid, ".mapthumb", columns);
  new ResizeObserver(() => detail.isConnected && place()).observe(grid);
  const bar = new StyleControls("Back-projection style", () => { repaint(); address.changed(); }, address.decoded("projections"));
  const toolbar = makeTools();

  on("picture", (picture) => api.reporting(async () => {
    set("layers", await api.get(`api/pictures/${picture.id}/layers?${new URLSearchParams(ofModel())}`));
    const wanted = [now.layer?.name, address.opened.layer, state.layers.default];
    now.layer = wanted.map((name) => state.layers.layers.find((one) => one.name === name && one.has_maps)).find(Boolean) ?? null;
    drawList();
    stale = true;
    if (!byId("layers").hidden) await show();
  }));
  let stale = true;
  let restored = address.opened;
  byId("layers").addEventListener("shown", () => show());
  address.keep("layer", () => now.layer?.name ?? restored.layer);
  address.keep("call", () => (now.layer?.calls > 1 ? now.call : null));
  address.keep("order", () => (now.order === ORDERS[0][0] ? null : now.order));
  address.keep("scale", () => (now.shared ? SHARED : null));
  address.keep("cmap", () => now.cmap);
  address.keep("projections", () => address.encoded(bar.entered));
  address.keep("map", () => restored.map ?? now.channel);
  address.keep("at", () => restored.at ?? now.position?.join(","));
  address.keep("rule", () => (now.rule === RULES[0][0] ? null : now.rule));

  async function show() {
    if (!stale || !now.layer) return;
    stale = false;
    const chosen = list.querySelector("[aria-pressed=true]");
    if (chosen) list.scrollTop = chosen.offsetTop - list.offsetTop - list.clientHeight / 2;
    const { call, map, at } = restored;
    restored = {};
    now.call = Number.parseInt(call, 10) || now.call;
    await load();
    const channel = Number.parseInt(map, 10);
    if (now.maps && channel < now.maps.largest.length) await reveal(channel, at);
  }

  /** Turn to the page of a map and open it, from a position `row,column` if one is given. */
  async function reveal(channel, at) {
    const position = (at ?? "").split(",").map((part) => Number.parseInt(part, 10));
    now.page = Math.floor(ordered().indexOf(channel) / PAGE);
    await turn();
    now.channel = channel;
    now.position = position.length === 2 && position.every(Number.isInteger) ? position : null;
    await project();
  }

  function drawList() {
    const wanted = filter.value.trim().toLowerCase();
    const found = (state.layers?.layers ?? []).filter((one) => `${one.name} ${one.type}`.toLowerCase().includes(wanted));
    fill(list, found.map((one) => {
      const entry = el("button", { type: "button", className: "layer", disabled: !one.has_maps, dataset: { layer: one.name },
        "aria-pressed": String(one.name === now.layer?.name), title: one.has_maps ? one.name : `${one.name} has no feature maps${one.why && `: ${one.why}`}`,
        onclick: () => { now.layer = one; now.call = one.calls; mark(); stale = false; load(); } },
      el("span", { className: "label" }, broken(one.name)), el("span", { className: "kind" }, one.type),
      el("span", { className: "shape" }, one.shape ? one.shape.join(" × ") : "–"));
      entry.style.setProperty("--depth", one.depth);
      return entry;
    }), found.length ? null : emptyState(`No layer matches “${filter.value}”.`));
  }

  function mark() {
    for (const entry of list.children) entry.setAttribute?.("aria-pressed", String(entry.dataset.layer === now.layer.name));
  }

  function load() {
    const { picture } = state;
    const { layer } = now;
    now.call = Math.min(now.call, layer.calls) || 1;
    title.textContent = layer.name;
    calls.hidden = layer.calls < 2;
    fill(calls, Array.from({ length: layer.calls }, (_, i) => el("option", { value: i + 1, selected: i + 1 === now.call }, `call ${i + 1} of ${layer.calls}`)));
    close();
    const job = nextMaps();
    const release = keepHeight(grid);
    fill(grid, waiting(`Computing maps of ${layer.name}`, job, () => fill(grid, emptyState("Cancelled."))));
    fill(pager);
    return api.reporting(async () => {
      try {
        now.maps = await api.post("api/features", { ...ofModel(), picture: picture.id, layer: layer.name, call: now.call }, job);
      } catch (error) {
        if (error.name !== "AbortError") fill(grid, emptyState(error.message));
        return;
      } finally {
        release();
      }
      now.page = 0;
      planes = new Map();
      toolbar.update();
      await turn();
    });
  }

  function ordered() {
    const channels = now.maps.largest.map((_, i) => i);
    if (now.order === "channel") return channels;
    const strength = now.maps[now.order];
    return channels.sort((a, b) => (strength[b] ?? -Infinity) - (strength[a] ?? -Infinity) || a - b);
  }

  async function turn() {
    const all = ordered();
    const pages = Math.max(1, Math.ceil(all.length / PAGE));
    now.page = Math.min(Math.max(0, now.page), pages - 1);
    const chosen = all.slice(now.page * PAGE, (now.page + 1) * PAGE);
    const missing = chosen.filter((channel) => !planes.has(channel));
    if (missing.length) {
      const [, h, w] = now.maps.shape;
      const values = await api.floats(`api/results/${now.maps.id}.f32?channels=${missing.join(",")}`, nextPage().signal);
      missing.forEach((channel, i) => planes.set(channel, values.subarray(i * h * w, (i + 1) * h * w)));
    }
    fill(grid, chosen.map(thumb));
    place();
    fill(pager, pages === 1 ? el("span", { className: "hint" }, `${all.length} maps`) : [
      el("button", { type: "button", className: "button", disabled: now.page === 0, onclick: () => go(-1) }, "Previous"),
      el("span", { className: "hint" }, `${now.page * PAGE + 1}–${now.page * PAGE + chosen.length} of ${all.length} maps`),
      el("button", { type: "button", className: "button", disabled: now.page === pages - 1, onclick: () => go(1) }, "Next")]);
  }

  const go = (step) => { now.page += step; return api.reporting(turn); };

  /** Scaling as in the library's own grid: a diverging colormap if any value is negative. */
  function scaling() {
    const signed = now.maps.smallest.some((value) => value < 0);
    const strength = now.maps.largest.map((value, i) => (signed ? Math.max(value, -now.maps.smallest[i]) : Math.max(value, 0)));
    return { signed, strength, all: Math.max(...strength), cmap: now.cmap || (signed ? "RdBu_r" : "viridis") };
  }

  function drawn(canvas, channel) {
    const { signed, strength, all, cmap } = scaling();
    const [, h, w] = now.maps.shape;
    onCanvas(canvas, paintPlane(planes.get(channel), now.shared ? all : strength[channel], signed, cmap, state.colours), w, h);
    return canvas;
  }

  function thumb(channel) {
    const canvas = drawn(el("canvas", { role: "img", "aria-label": `Map ${channel}` }), channel);
    return el("button", { type: "button", className: "mapthumb", dataset: { channel }, "aria-pressed": String(channel === now.channel),
      title: `Map ${channel}: largest ${short(now.maps.largest[channel])}, mean ${short(now.maps.mean[channel])}`,
      onclick: () => { now.channel = channel; now.position = null; project(); } },
    canvas, el("span", {}, el("b", {}, channel), ` ${short(now.maps.largest[channel])}`));
  }

  function makeTools() {
    const order = choice("Order", ORDERS, (value) => { now.order = value; now.page = 0; });
    const scale = segmented("Scale", [["each", "Per map"], [SHARED, "Shared"]], now.shared ? SHARED : "each",
      (value) => { now.shared = value === SHARED; change(); });
    const colours = el("select", { name: "cmap", onchange: () => { now.cmap = colours.value; change(); } });
    const png = el("a", { className: "link", download: "" }, "All maps as PNG");
    const npz = el("a", { className: "link", download: "" }, "NPZ");
    fill(tools, order, el("div", { className: "field" }, el("span", {}, "Scale"), scale.group),
      el("label", { className: "field" }, el("span", {}, "Colormap"), colours), el("span", { className: "grow" }),
      el("div", { className: "actions" }, png, npz));
    function change() {
      links();
      address.changed();
      api.reporting(turn);
      if (now.channel !== null) big();
    }
    function choice(label, choices, changed) {
      return el("label", { className: "field" }, el("span", {}, label), el("select", { name: label.toLowerCase(), onchange: (event) => { changed(event.target.value); change(); } },
        choices.map(([value, text]) => el("option", { value, selected: value === now.order }, text))));
    }
    function links() {
      png.href = `api/results/${now.maps.id}.png?${new URLSearchParams({ shared: now.shared, ...(now.cmap ? { cmap: now.cmap } : {}) })}`;
      npz.href = `api/results/${now.maps.id}.npz`;
    }
    function update() {
      const { signed } = scaling();
      const names = signed ? state.colours.diverging : state.colours.sequential;
      now.cmap = names.includes(now.cmap) ? now.cmap : "";
      fill(colours, names.map((name) => el("option", { value: name }, name)));
      colours.value = now.cmap || (signed ? "RdBu_r" : "viridis");
      links();
    }
    return { update };
  }

  let large = null;

  /** Draw the chosen map enlarged. */
  function big() {
    drawn(large, now.channel);
  }

  function project() {
    for (const one of thumbs()) one.setAttribute("aria-pressed", String(Number(one.dataset.channel) === now.channel));
    if (!detail.isConnected || detail.dataset.channel !== `${now.layer.name} ${now.channel}`) frame();
    place();
    address.changed();
    const pair = detail.querySelector(".pair");
    pair.setAttribute("aria-busy", "true");
    const job = nextProjection();
    const ended = (text) => { fill(pair, emptyState(text)); pair.removeAttribute("aria-busy"); };
    if (!pair.querySelector("figure")) fill(pair, waiting("Computing back-projections", job, () => ended("Cancelled.")));
    return api.reporting(async () => {
      const { picture } = state;
      const question = { ...ofModel(), picture: picture.id, layer: now.layer.name, channel: now.channel, position: now.position, rule: now.rule, call: now.call };
      let answer;
      try {
        answer = await api.post("api/projections", question, job);
      } catch (error) {
        if (error.name !== "AbortError") ended(error.message);
        return;
      }
      const [row, column] = answer.position;
      cards = answer.parts.map((part, i) => partElement(part, picture, i
        ? { title: "Whole map", detail: `maximum ${short(answer.strongest)}`, note: answer.notes.join(" · ") }
        : { title: now.position ? `Row ${row}, column ${column}` : `Maximum, at row ${row}, column ${column}`, detail: `value ${short(answer.activation)}` }).card);
      await Promise.all(cards.map((card) => card.paint({ ...bar.chosen })));
      fill(pair, cards.map((card) => card.element));
      pair.removeAttribute("aria-busy");
      cursor(row, column);
    });
  }

  function repaint() {
    const chosen = { ...bar.chosen };
    return api.reporting(() => Promise.all(cards.map((card) => card.paint(chosen))));
  }

  const thumbs = () => [...grid.querySelectorAll(".mapthumb")];

  /** The number of maps in a row of the grid. */
  function columns() {
    return Math.max(1, getComputedStyle(grid).gridTemplateColumns.split(" ").length);
  }

  /** Open the chosen map below its row, where it was clicked; nothing above it moves. */
  function place() {
    const all = thumbs();
    const at = all.findIndex((one) => Number(one.dataset.channel) === now.channel);
    if (at < 0) {
      detail.remove();
      return;
    }
    const last = all[Math.min(all.length, (Math.floor(at / columns()) + 1) * columns()) - 1];
    if (last.nextElementSibling !== detail) last.after(detail);
  }

  function close() {
    const opened = thumbs().find((one) => Number(one.dataset.channel) === now.channel);
    detail.remove();
    now.channel = null;
    opened?.setAttribute("aria-pressed", "false");
    opened?.focus();
    address.changed();
  }

  /** Lay out the chosen map next to its back-projections. */
  function frame() {
    detail.dataset.channel = `${now.layer.name} ${now.channel}`;
    large = el("canvas", { role: "img", "aria-label": `Map ${now.channel}, enlarged` });
    big();
    const readout = el("span", { className: "more" }, "Click a position, or move with the arrow keys");
    const pick = el("button", { type: "button", className: "picture bigmap", "aria-label": `Map ${now.channel}: choose a position` }, large, el("span", { className: "cursor", hidden: true }));
    const rules = segmented("Rule", RULES, now.rule, (value) => { now.rule = value; project(); });
    const png = `api/results/${now.maps.id}.png?${new URLSearchParams({ channel: now.channel, shared: now.shared, ...(now.cmap ? { cmap: now.cmap } : {}) })}`;
    picking(pick, readout);
    fill(detail,
      el("div", { className: "row" }, el("h2", {}, `Map ${now.channel} of `, broken(now.layer.name)), el("span", { className: "grow" }), rules.group,
        el("button", { type: "button", className: "button", onclick: () => { now.position = null; project(); } }, "At maximum"),
        el("button", { type: "button", className: "quiet", "aria-label": "Close", onclick: close }, "×")),
      el("div", { className: "trio" },
        el("figure", { className: "result" }, pick, el("figcaption", {}, el("div", { className: "titles" }, el("strong", {}, "Feature map"), readout),
          el("div", { className: "actions" }, el("button", { type: "button", className: "link", onclick: () => openFullSize({ title: `Map ${now.channel} of ${now.layer.name}`, image: png, npz: `api/results/${now.maps.id}.npz` }) }, "Full size"),
            el("a", { className: "link", href: png, download: "" }, "PNG")))),
        el("div", { className: "pair", "aria-live": "polite" })),
      bar.element);
  }

  function picking(pick, readout) {
    const [, h, w] = now.maps.shape;
    const at = (event) => {
      const box = large.getBoundingClientRect();
      const row = Math.floor((event.clientY - box.top) / box.height * h);
      const column = Math.floor((event.clientX - box.left) / box.width * w);
      return [Math.min(h - 1, Math.max(0, row)), Math.min(w - 1, Math.max(0, column))];
    };
    const read = ([row, column]) => { readout.textContent = `row ${row}, column ${column}: ${short(planes.get(now.channel)[row * w + column])}`; };
    pick.addEventListener("pointermove", (event) => read(at(event)));
    pick.addEventListener("click", (event) => {
      // A keyboard click has no coordinates; the cursor stays.
      if (event.detail === 0) return;
      now.position = at(event);
      read(now.position);
      cursor(...now.position);
      project();
    });
    pick.addEventListener("keydown", (event) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (!step) return;
      event.preventDefault();
      const [row, column] = now.position ?? now.cursor ?? [0, 0];
      now.position = [Math.min(h - 1, Math.max(0, row + step[0])), Math.min(w - 1, Math.max(0, column + step[1]))];
      read(now.position);
      cursor(...now.position);
      project();
    });
  }

  /** Mark the position from which the first back-projection starts. */
  function cursor(row, column) {
    const mark = detail.querySelector(".cursor");
    if (!mark || row === undefined) return;
    const [, h, w] = now.maps.shape;
    now.cursor = [row, column];
    mark.hidden = false;
    mark.style.left = `${100 * column / w}%`;
    mark.style.top = `${100 * row / h}%`;
    mark.style.width = `${100 / w}%`;
    mark.style.height = `${100 / h}%`;
  }
}

/** Return a name that is broken after its dots where it is too long for a line. */
const broken = (name) => name.split(/(?<=\.)/).flatMap((piece, i) => (i ? [el("wbr"), piece] : [piece]));

/** Return a value if it is one of the choices, else the first of them. */
const among = (choices, value) => (choices.some(([one]) => one === value) ? value : choices[0][0]);
