// Entry point: loads the description of the model, then shows the first picture.

import * as api from "./api.js";
import { byId, el, fill } from "./dom.js";
import { startExplain } from "./explain.js";
import { startLayers } from "./layers.js";
import { startPanels } from "./panels.js";
import { startPictures } from "./pictures.js";
import { startRegions } from "./regions.js";
import { readTables } from "./render.js";
import { startScores } from "./scores.js";
import { set, state } from "./state.js";
import { startTheme } from "./theme.js";

const TABS = ["explain", "layers", "panels"];

function startTabs() {
  const tabs = TABS.map((name) => byId(`tab-${name}`));
  const open = (name) => {
    for (const tab of TABS) {
      const selected = tab === name;
      byId(`tab-${tab}`).setAttribute("aria-selected", String(selected));
      byId(`tab-${tab}`).tabIndex = selected ? 0 : -1;
      byId(tab).hidden = !selected;
    }
    byId(name).dispatchEvent(new Event("shown"));
  };
  tabs.forEach((tab, at) => {
    tab.addEventListener("click", () => open(TABS[at]));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      const next = (at + step + TABS.length) % TABS.length;
      tabs[next].focus();
      open(TABS[next]);
    });
  });
}

async function start() {
  startTheme();
  startTabs();
  const model = await api.get("api/model");
  set("model", model);
  set("colours", readTables(model.colours));
  byId("model").textContent = `${model.name} on ${model.device}`;
  document.title = `${model.name} · torchattr`;
  startPictures();
  startRegions();
  startScores();
  startExplain();
  startLayers();
  startPanels();
  set("pictures", await api.get("api/pictures"));
  set("picture", state.pictures[0]);
}

start().catch((error) => {
  fill(byId("main"), el("p", { className: "empty" }, error.message));
});
