// How maps are drawn: the controls above results. They never ask the server for anything.

import { el, segmented } from "./dom.js";
import { isDiverging } from "./render.js";
import { state } from "./state.js";

const KINDS = [["", "Own"], ["overlay", "Over the picture"], ["heat", "Heat alone"], ["color", "In colours"]];
const SIGNS = [["", "Own", "As the method has it"], ["positive", "+", "Positive values"],
  ["negative", "−", "Negative values"], ["all", "±", "Both signs"], ["absolute", "abs", "Magnitudes"]];
const CHANNELS = [["", "Own"], ["sum", "Sum"], ["mean", "Mean"], ["max_abs", "Largest magnitude"],
  ["l2", "L2 norm"], ["luma", "Brightness"], ["deviation", "Sum less its mean"]];

/** Give the look in which a map is drawn: its own, with the choices of the controls. */
export function lookFor(own, chosen, channels, colours) {
  const look = { ...own, ...Object.fromEntries(Object.entries(chosen).filter(([, value]) => value !== null)) };
  if (look.kind === "color" && channels !== 1 && channels !== 3) look.kind = "heat";
  // A magnitude has no sign left, so a sign asked for is looked for in the sum.
  const magnitude = look.channels === "max_abs" || look.channels === "l2";
  if (chosen.sign && chosen.sign !== "absolute" && chosen.channels === null && magnitude) look.channels = "sum";
  if (look.channels === "luma" && channels !== 1 && channels !== 3) look.channels = "sum";
  if (look.sign === "all" && !isDiverging(colours, look.cmap)) look.cmap = "RdBu_r";
  if (look.sign !== "all" && isDiverging(colours, look.cmap)) look.cmap = look.kind === "overlay" ? "viridis" : "inferno";
  if (chosen.cmap !== null && isDiverging(colours, chosen.cmap) === (look.sign === "all")) look.cmap = chosen.cmap;
  return look;
}

/** The controls. `changed` is called after each change; `chosen` holds null for what is left as it is. */
export class LookBar {
  constructor(label, changed) {
    this.chosen = { kind: null, sign: null, channels: null, cmap: null, alpha: null, percentile: null };
    this.changed = changed;
    this.element = el("div", { className: "lookbar", role: "group", "aria-label": label },
      this.select("kind", "Drawn", KINDS),
      this.signs(),
      this.select("channels", "Channels", CHANNELS),
      this.select("cmap", "Colours", this.maps()),
      this.slider("alpha", "Strength", 0, 1, 0.05, 0.8, (value) => `${Math.round(value * 100)} %`),
      this.slider("percentile", "Clip at", 90, 100, 0.1, 100, (value) => `${value.toFixed(1)} %`),
      el("button", { type: "button", className: "quiet reset", title: "As the methods have it", onclick: () => this.reset() }, "Reset"));
  }

  choose(name, value) {
    this.chosen[name] = value === "" ? null : value;
    this.changed();
  }

  reset() {
    for (const name of Object.keys(this.chosen)) this.chosen[name] = null;
    for (const select of this.element.querySelectorAll("select")) select.value = "";
    for (const output of this.element.querySelectorAll("output")) output.textContent = "own";
    this.press("");
    this.changed();
  }

  select(name, label, choices) {
    return el("label", { className: "field" }, el("span", {}, label),
      el("select", { name, onchange: (event) => this.choose(name, event.target.value) },
        choices.map(([value, text]) => el("option", { value }, text))));
  }

  signs() {
    const { group, press } = segmented("Sign", SIGNS, "", (value) => this.choose("sign", value));
    this.press = press;
    return el("div", { className: "field" }, el("span", {}, "Sign"), group);
  }

  slider(name, label, min, max, step, value, written) {
    const output = el("output", {}, "own");
    return el("label", { className: "field" }, el("span", {}, `${label} `, output),
      el("input", { type: "range", name, "aria-label": label, min, max, step, value, oninput: (event) => {
        output.textContent = written(Number(event.target.value));
        this.choose(name, Number(event.target.value));
      } }));
  }

  maps() {
    const { sequential, diverging } = state.colours;
    return [["", "Own"], ...sequential.map((name) => [name, name]),
      ...diverging.map((name) => [name, `${name} (±)`])];
  }
}
