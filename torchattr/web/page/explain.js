// The Explain tab: methods with their options, and their results side by side.

import * as address from "./address.js";
import * as api from "./api.js";
import { compare, compared } from "./compare.js";
import { byId, el, fill, marked } from "./dom.js";
import { Form } from "./form.js";
import { StyleControls } from "./map_style.js";
import { MethodChoice } from "./methods.js";
import { waiting } from "./progress.js";
import { Results } from "./results.js";
import { ofModel, on, state } from "./state.js";

const FIRST = "grad_cam";

export function startExplain() {
  const methods = state.model.methods;
  const find = (name) => methods.find((one) => one.name === name && !one.unavailable);
  let method = find(address.opened.method) ?? find(FIRST) ?? methods[0];
  let form = null;
  const choice = new MethodChoice(methods, state.model.families, (one) => { choose(one); explain(); });
  const about = el("div", { className: "about" });
  const options = el("details", { className: "options" });
  const run = el("button", { type: "button", className: "button primary", onclick: explain });
  const bar = new StyleControls("Map style", () => { results.repaint(); address.changed(); }, address.decoded("style"));
  const results = new Results("Choose a class and a method.", () => ({ ...bar.chosen }), address.changed);
  const clear = el("button", { type: "button", className: "quiet", onclick: () => results.clear() }, "Clear results");
  fill(byId("explain"),
    el("div", { className: "card asking" }, choice.element, about, el("div", { className: "row" }, run, options, el("span", { className: "grow" }), clear)),
    bar.element, results.element);
  choose(method, address.decoded("options") ?? {});
  on("layers", () => choose(method, form.values()));
  address.keep("method", () => method.name);
  address.keep("options", () => address.encoded(form.values()));
  address.keep("style", () => address.encoded(bar.entered));
  const asked = address.decoded("maps");
  let opened = Array.isArray(asked) && asked.length ? asked : null;
  let restoring = false;
  let acted = false;
  for (const event of ["pointerdown", "keydown"]) addEventListener(event, () => { acted = true; }, { capture: true, once: true });
  // What is still to be restored stays in the address.
  address.keep("maps", () => address.encoded(opened ?? results.questions));
  address.keep("compare", () => (opened ? address.opened.compare : comparison()));
  on("target", (target) => {
    title();
    address.changed();
    if (!target) return;
    if (opened && !restoring) restore();
    else explain();
  });

  function choose(one, entered) {
    method = one;
    choice.press(one);
    fill(about, one.about.filter(isSummary).map((text) => el("p", {}, marked(text))));
    form = new Form(one.fields, explain, entered);
    fill(options, el("summary", {}, `Options of ${one.title}`), form.element);
    options.hidden = one.fields.length === 0;
    title();
    address.changed();
  }

  function title() {
    run.textContent = state.target ? `Explain ${state.target.name}` : "Explain";
    run.disabled = !state.target;
  }

  function explain() {
    if (!state.target || !state.picture || !form || !form.valid) return undefined;
    const { index, region } = state.target;
    return ask({ ...ofModel(), picture: state.picture.id, method: method.name, target: index, region: region ?? null, options: form.values() }, state.target.name);
  }

  /** Ask for maps again that an address names, one after another. */
  async function restore() {
    restoring = true;
    const questions = opened.filter((question) => find(question?.method));
    for (const question of questions) await ask(question, null);
    // By then, it must not cover what its reader is doing.
    if (!acted && !byId("explain").hidden) compareAgain();
    opened = null;
    address.changed();
  }

  /** Open the comparison that the address names. */
  function compareAgain() {
    const [left, right, share] = (address.opened.compare ?? "").split(",");
    const [one, other] = [left, right].map((id) => results.maps.find(({ part }) => part.id === id));
    if (one && other && one !== other && one.picture.id === other.picture.id) compare(one, other, share);
  }

  /** Return the open comparison for the address: the ids of both maps, which the same questions give again, and the share of the left one. */
  function comparison() {
    const open = compared();
    return open && [open.left.part.id, open.right.part.id, open.share].join(",");
  }

  function ask(question, name) {
    const job = api.newJob();
    const picture = state.pictures.find((one) => one.id === question.picture);
    const asked = find(question.method);
    choice.offer(asked);
    const placeholder = waiting(`Computing ${asked.title}${name ? ` for ${name}` : ""}`, job);
    return picture && api.reporting(() => results.expect(placeholder, question, picture, api.post("api/attributions", question, job)));
  }
}

/** Keep the summary of a docstring and what the result is *not*; details are in the documentation. */
const isSummary = (text, index) => index === 0 || text.includes("*not*");
