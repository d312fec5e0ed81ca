// Class scores as bars: the top classes first, all on demand, with a filter by name.

import * as address from "./address.js";
import * as api from "./api.js";
import { arrows, byId, el, fill, percent, short } from "./dom.js";
import { emptyState } from "./parts.js";
import { ofModel, on, set, state } from "./state.js";

const FIRST = 8;
const MOST = 400;

export function startScores() {
  const list = el("div", { className: "classes", role: "group", "aria-label": "Classes" });
  const filter = el("input", { type: "search", placeholder: "Filter by name", "aria-label": "Filter classes by name", oninput: draw });
  const more = el("button", { type: "button", className: "link", onclick: () => { all = !all; draw(); } });
  const note = el("p", { className: "hint" });
  const next = api.latest();
  let all = false;
  fill(byId("scores"), el("h2", {}, "Classes"), filter, list, more, note);
  arrows(list, "button");

  let wanted = opened();
  state.keepTarget = wanted !== null;
  address.keep("class", () => (state.target ?? wanted)?.index);
  address.keep("region", () => (state.target ?? wanted)?.region?.map((edge) => edge.toFixed(1)).join(","));
  on("picture", (picture) => api.reporting(async () => {
    fill(list, el("p", { className: "hint" }, "Computing scores …"));
    const scores = await api.get(`api/pictures/${picture.id}/scores?${new URLSearchParams(ofModel())}`, next().signal);
    const before = wanted ?? state.target;
    const same = before && scores.classes.find((one) => (before.name ? one.name === before.name : one.index === before.index));
    set("scores", scores);
    if (wanted?.region && scores.regions) set("target", { ...wanted, name: "the chosen region" });
    else set("target", state.keepTarget && same ? same : scores.classes[0]);
    wanted = null;
  }));
  on("scores target", draw);

  function draw() {
    if (!state.scores) return;
    const { classes, bounded, total } = state.scores;
    const wanted = filter.value.trim().toLowerCase();
    const matching = classes.filter((one) => !wanted || one.name.toLowerCase().includes(wanted) || String(one.index) === wanted);
    const shown = matching.slice(0, all || wanted ? MOST : FIRST);
    const largest = bounded ? 1 : Math.max(1e-9, ...classes.map((one) => one.score ?? 0));
    fill(list, shown.map((one) => row(one, largest, bounded)),
      matching.length ? null : emptyState(`No class matches “${filter.value}”.`));
    filter.hidden = total <= FIRST;
    more.hidden = Boolean(wanted) || total <= FIRST;
    more.textContent = all ? `Show top ${FIRST}` : `Show all ${total}`;
    const left = matching.length - shown.length;
    note.textContent = left > 0 && (all || wanted) ? `${left} more; filter by name to find them.` : state.scores.note;
  }

  function row(one, largest, bounded) {
    const chosen = state.target?.index === one.index && !state.target.region;
    const track = el("span", { className: "fill" });
    track.style.width = `${Math.min(100, Math.max(0, 100 * (one.score ?? 0) / largest))}%`;
    return el("button", { type: "button", className: "class", "aria-pressed": String(chosen), dataset: { index: one.index },
      title: `Explain ${one.name} (class ${one.index})`, onclick: () => { state.keepTarget = true; set("target", one); focus(one.index); } },
    el("span", { className: "label" }, one.name), el("span", { className: "value" }, bounded ? percent(one.score ?? 0) : short(one.score)),
    el("span", { className: "track" }, track));
  }

  // The list was redrawn, so the focus is restored.
  const focus = (index) => list.querySelector(`[data-index="${index}"]`)?.focus();
}

/** Return the class and the region that the address names. */
function opened() {
  const index = Number.parseInt(address.opened.class, 10);
  const region = (address.opened.region ?? "").split(",").map(Number);
  const known = [2, 4].includes(region.length) && region.every(Number.isFinite);
  if (!known) return Number.isNaN(index) ? null : { index };
  return { index: Number.isNaN(index) ? null : index, region };
}
