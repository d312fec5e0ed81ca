// The model in the header: its name, or a choice of several.

import * as address from "./address.js";
import { byId, el, fill } from "./dom.js";
import { set, state } from "./state.js";

export function startModels() {
  const { name, device, models } = state.model;
  document.title = `${name} · torchattr`;
  if (models.length < 2) {
    byId("model").textContent = `${name} on ${device}`;
    return;
  }
  state.chosen = models.includes(address.opened.model) ? address.opened.model : models[0];
  address.keep("model", () => state.chosen);
  const select = el("select", { "aria-label": "Model", onchange: () => choose(select.value) },
    models.map((one) => el("option", { value: one, selected: one === state.chosen }, one)));
  fill(byId("model"), select).classList.add("several");
}

/** Choose another model; its class of the same name is explained, if it has one. */
function choose(name) {
  state.chosen = name;
  state.keepTarget = true;
  address.changed();
  set("picture", state.picture);
}
