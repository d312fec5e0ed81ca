// Entry point: loads the description of the model, then shows the first picture.

import * as address from "./address.js";
import * as api from "./api.js";
import { byId, el, fill } from "./dom.js";
import { startExplain } from "./explain.js";
import { startLayers } from "./layers.js";
import { startModels } from "./models.js";
import { startPanels } from "./panels.js";
import { startPictures } from "./pictures.js";
import { startRegions } from "./regions.js";
import { readTables } from "./render.js";
import { startScores } from "./scores.js";
import { on, set, state } from "./state.js";
import { startTheme } from "./theme.js";

const TABS = ["explain", "layers", "panels"];

function startTabs() {
  const tabs = TABS.map((name) => byId(`tab-${name}`));
  let shown = TABS[0];
  address.keep("view", () => shown);
  const open = (name) => {
    shown = name;
    address.changed();
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
  if (TABS.includes(address.opened.view)) open(address.opened.view);
}

/** Move the focus without changing the address, which holds the state. */
function startSkipLink() {
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    byId("main").focus();
    byId("main").scrollIntoView();
  });
}

function firstPicture() {
  const wanted = address.opened.picture;
  const found = state.pictures.find((one) => one.id === wanted);
  if (wanted && !found) api.notify("The picture of this address is not on this viewer any more. Open it again.", "note");
  return found ?? state.pictures[0];
}

async function start() {
  startTheme();
  startSkipLink();
  const model = await api.get("api/model");
  set("model", model);
  set("colours", readTables(model.colours));
  startModels();
  startPictures();
  startRegions();
  startScores();
  startExplain();
  startLayers();
  startPanels();
  startTabs();
  set("pictures", await api.get("api/pictures"));
  set("picture", firstPicture());
  on("picture", address.changed);
  address.start();
}

start().catch((error) => {
  fill(byId("main"), el("p", { className: "empty" }, error.message));
});
