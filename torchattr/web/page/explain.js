// The Explain tab: methods with their options, and their results side by side.

import * as api from "./api.js";
import { arrows, byId, el, fill, marked } from "./dom.js";
import { Form } from "./form.js";
import { StyleControls } from "./map_style.js";
import { emptyState, partElement, waiting } from "./parts.js";
import { on, state } from "./state.js";

const FIRST = "grad_cam";
const MOST = 24;

export function startExplain() {
  const methods = state.model.methods;
  let method = methods.find((one) => one.name === FIRST) ?? methods[0];
  let form = null;
  let answers = [];
  const chips = el("div", { className: "chips", role: "group", "aria-label": "Methods" });
  const about = el("div", { className: "about" });
  const options = el("details", { className: "options" });
  const run = el("button", { type: "button", className: "button primary", onclick: explain });
  const bar = new StyleControls("Map style", repaint);
  const results = el("div", { className: "results" });
  const clear = el("button", { type: "button", className: "quiet", onclick: () => { answers = []; fill(results, emptyState(NOTHING)); } }, "Clear results");
  fill(byId("explain"),
    el("div", { className: "card" }, chips, about, el("div", { className: "row" }, run, options, el("span", { className: "grow" }), clear)),
    bar.element, results);
  fill(results, emptyState(NOTHING));
  arrows(chips, "button:not([disabled])");
  fill(chips, methods.map((one) => el("button", { type: "button", className: "chip", dataset: { method: one.name }, disabled: Boolean(one.unavailable),
    title: one.unavailable ? `${one.title} is not available: ${one.unavailable}` : one.about[0], onclick: () => { choose(one); explain(); } }, one.title)));
  choose(method);
  on("layers", () => choose(method, form.values()));
  on("target", (target) => { title(); if (target) explain(); });

  function choose(one, entered) {
    method = one;
    for (const chip of chips.children) chip.setAttribute("aria-pressed", String(chip.dataset.method === one.name));
    fill(about, one.about.filter(isSummary).map((text) => el("p", {}, marked(text))));
    form = new Form(one.fields, explain, entered);
    fill(options, el("summary", {}, `Options of ${one.title}`), form.element);
    options.hidden = one.fields.length === 0;
    title();
  }

  function title() {
    run.textContent = state.target ? `Explain ${state.target.name}` : "Explain";
    run.disabled = !state.target;
  }

  function explain() {
    if (!state.target || !state.picture || !form || !form.valid) return undefined;
    const { picture, target } = state;
    const requested = method;
    const job = api.newJob();
    const placeholder = waiting(`Computing ${requested.title} for ${target.name} …`, job.cancel);
    if (!answers.length) fill(results);
    results.prepend(placeholder);
    return api.reporting(async () => {
      try {
        const question = { picture: picture.id, method: requested.name, target: target.index, region: target.region ?? null, options: form.values() };
        const answer = await api.post("api/attributions", question, job);
        await show(placeholder, answer, picture);
      } finally {
        placeholder.remove();
        if (!results.children.length) fill(results, emptyState(NOTHING));
      }
    });
  }

  async function show(placeholder, answer, picture) {
    const made = answer.parts.map((part) => partElement(part, picture, {
      detail: answer.title, note: [answer.note, ...answer.notes].filter(Boolean).join(" · "),
      remove: () => remove(part.id),
    }));
    answer.parts.forEach((part) => remove(part.id));
    const found = { cards: made.map(({ card }) => card).filter(Boolean), elements: made.map(({ element }) => element) };
    await Promise.all(found.cards.map((card) => card.paint({ ...bar.chosen })));
    placeholder.replaceWith(...arranged(found));
    answers.push(found);
    while (results.children.length > MOST) results.lastChild.remove();
    answers = answers.filter((one) => one.elements.some((element) => results.contains(element)));
  }

  /** Return the maps alone, or beside what was returned with them. */
  function arranged({ cards, elements }) {
    const maps = elements.filter((element) => cards.some((card) => card.element === element));
    const others = elements.filter((element) => !maps.includes(element));
    if (!maps.length || !others.length) return elements;
    return [el("div", { className: "answer" }, el("div", { className: "results" }, maps), el("div", { className: "results" }, others))];
  }

  /** Remove a map, and with the last map of an answer what was shown with it. */
  function remove(id) {
    const answer = answers.find(({ cards }) => cards.some(({ part }) => id && part.id === id));
    if (!answer) return;
    answer.cards.filter(({ part }) => part.id === id).forEach(({ element }) => element.remove());
    answer.cards = answer.cards.filter(({ part }) => part.id !== id);
    if (!answer.cards.length) {
      const whole = answer.elements[0].closest(".answer");
      [whole, ...answer.elements].forEach((element) => element?.remove());
      answers = answers.filter((one) => one !== answer);
    }
    if (!results.children.length) fill(results, emptyState(NOTHING));
  }

  function repaint() {
    const chosen = { ...bar.chosen };
    const shown = answers.flatMap(({ cards }) => cards).filter(({ element }) => results.contains(element));
    return api.reporting(() => Promise.all(shown.map((card) => card.paint(chosen))));
  }
}

const NOTHING = "Choose a class on the left and a method above.";

/** Keep the summary of a docstring and what the result is *not*; details are in the documentation. */
const isSummary = (text, index) => index === 0 || text.includes("*not*");
