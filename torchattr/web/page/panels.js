// The Panels tab: built-in panels and registered ones.

import * as address from "./address.js";
import * as api from "./api.js";
import { arrows, byId, el, fill, keepHeight, marked, press, unmarked } from "./dom.js";
import { Form } from "./form.js";
import { StyleControls } from "./map_style.js";
import { emptyState, notes, partElement } from "./parts.js";
import { waiting } from "./progress.js";
import { ofModel, on, state } from "./state.js";

export function startPanels() {
  const panels = state.model.panels;
  const next = api.latest();
  let panel = panels.find((one) => one.name === address.opened.panel && !one.unavailable) ?? panels[0];
  let form = null;
  let cards = [];
  const chips = el("div", { className: "chips", role: "group", "aria-label": "Panels" });
  const about = el("div", { className: "about" });
  const options = el("div", {});
  const bar = new StyleControls("Map style", () => api.reporting(() => Promise.all(cards.map((card) => card.paint({ ...bar.chosen })))));
  const results = el("div", { className: "results" });
  fill(byId("panels"), el("div", { className: "card" }, chips, about, options), bar.element, results);
  arrows(chips, "button:not([disabled])");
  fill(chips, panels.map((one) => el("button", { type: "button", className: "chip", dataset: { panel: one.name }, disabled: Boolean(one.unavailable),
    title: one.unavailable ?? unmarked(one.about[0] ?? one.title), onclick: () => { choose(one); show(); } }, one.title)));
  fill(results, emptyState("Choose a panel above."));
  bar.element.hidden = true;
  choose(panel, address.decoded("panel-options") ?? {});
  address.keep("panel", () => panel.name);
  address.keep("panel-options", () => address.encoded(form.values()));
  on("layers", () => choose(panel, form.values()));
  let stale = true;
  on("target", () => { stale = true; if (!byId("panels").hidden) show(); });
  byId("panels").addEventListener("shown", () => stale && show());

  function choose(one, entered) {
    panel = one;
    press(chips, chips.querySelector(`[data-panel="${one.name}"]`));
    fill(about, one.about.slice(0, 1).map((text) => el("p", {}, marked(text))));
    form = new Form(one.fields, show, entered);
    if (one.fields.length) form.element.append(el("button", { type: "submit", className: "button primary" }, "Show"));
    fill(options, form.element);
    address.changed();
  }

  function show() {
    if (!state.picture || !form || !form.valid) return undefined;
    stale = false;
    address.changed();
    const { picture } = state;
    const job = next();
    const release = keepHeight(results);
    fill(results, waiting(`Computing ${panel.title}`, job, () => fill(results, emptyState("Cancelled."))));
    return api.reporting(async () => {
      try {
        const question = { ...ofModel(), picture: picture.id, panel: panel.name, target: state.target?.index ?? null, region: state.target?.region ?? null, options: form.values() };
        const answer = await api.post("api/panels", question, job);
        const made = answer.parts.map((part) => partElement(part, picture, { detail: `${state.target?.name ?? ""} · ${picture.name}` }));
        cards = made.map(({ card }) => card).filter(Boolean);
        bar.element.hidden = cards.length === 0;
        fill(results, made.map(({ element }) => element), notes(answer), made.length ? null : emptyState("This panel returned nothing."));
        await Promise.all(cards.map((card) => card.paint({ ...bar.chosen })));
      } catch (error) {
        if (error.name !== "AbortError") fill(results, emptyState(error.message));
      } finally {
        release();
      }
    });
  }
}
