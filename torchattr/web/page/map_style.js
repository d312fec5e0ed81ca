// The style of maps, and the controls for it above the results. Nothing here uses the server.

import { el, segmented } from "./dom.js";
import { isDiverging } from "./render.js";
import { state } from "./state.js";

const KINDS = [["", "Default"], ["overlay", "Overlay"], ["heat", "Heatmap only"], ["color", "RGB"]];
const SIGNS = [["", "Default", "Default of the method"], ["positive", "+", "Positive values"],
  ["negative", "−", "Negative values"], ["all", "±", "Both signs"], ["absolute", "abs", "Absolute values"]];
const CHANNELS = [["", "Default"], ["sum", "Sum"], ["mean", "Mean"], ["max_abs", "Maximum magnitude"],
  ["l2", "L2 norm"], ["luma", "Luma"], ["deviation", "Sum minus mean"]];

/** Return the style of a map: its own, overridden by the choices of the controls. */
export function resolveStyle(own, chosen, channels, colours) {
  const style = { ...own, ...Object.fromEntries(Object.entries(chosen).filter(([, value]) => value !== null)) };
  if (style.kind === "color" && channels !== 1 && channels !== 3) style.kind = "heat";
  // Magnitudes have no sign, so a chosen sign is that of the sum.
  const magnitude = style.channels === "max_abs" || style.channels === "l2";
  if (chosen.sign && chosen.sign !== "absolute" && chosen.channels === null && magnitude) style.channels = "sum";
  if (style.channels === "luma" && channels !== 1 && channels !== 3) style.channels = "sum";
  if (style.sign === "all" && !isDiverging(colours, style.cmap)) style.cmap = "RdBu_r";
  if (style.sign !== "all" && isDiverging(colours, style.cmap)) style.cmap = style.kind === "overlay" ? "viridis" : "inferno";
  if (chosen.cmap !== null && isDiverging(colours, chosen.cmap) === (style.sign === "all")) style.cmap = chosen.cmap;
  return style;
}

const WIDE = "(min-width: 861px)";

/**
 * The controls. `changed` is called after each change; `chosen` is null where nothing is chosen.
 * `initial` holds choices made before. On narrow screens they are closed at first.
 */
export class StyleControls {
  constructor(label, changed, initial) {
    this.chosen = { kind: null, sign: null, channels: null, cmap: null, alpha: null, percentile: null };
    this.changed = changed;
    const wide = matchMedia(WIDE);
    this.element = el("details", { className: "style", open: wide.matches }, el("summary", {}, label), this.controls(label));
    wide.addEventListener("change", () => { this.element.open = wide.matches; });
    for (const [name, value] of Object.entries(initial ?? {})) if (name in this.chosen) this.enter(name, value);
  }

  /** What was chosen, without what was not. */
  get entered() {
    return Object.fromEntries(Object.entries(this.chosen).filter(([, value]) => value !== null));
  }

  controls(label) {
    return el("div", { className: "stylebar", role: "group", "aria-label": label },
      this.select("kind", "Style", KINDS),
      this.signs(),
      this.select("channels", "Channels", CHANNELS),
      this.select("cmap", "Colormap", this.maps()),
      this.slider("alpha", "Opacity", 0, 1, 0.05, 0.9, (value) => `${Math.round(value * 100)} %`),
      this.slider("percentile", "Clip percentile", 90, 100, 0.1, 100, (value) => `${value.toFixed(1)} %`),
      el("button", { type: "button", className: "quiet reset", title: "Reset to the defaults of the methods", onclick: () => this.reset() }, "Reset"));
  }

  /** Choose a value as if it had been entered. */
  enter(name, value) {
    const control = this.element.querySelector(`[name="${name}"]`);
    if (value === null) return;
    if (name === "sign") {
      if (!SIGNS.some(([known]) => known === value)) return;
      this.press(value);
      this.chosen.sign = value || null;
      return;
    }
    control.value = value;
    control.written?.();
    this.chosen[name] = control.type === "range" ? Number(control.value) : control.value || null;
  }

  choose(name, value) {
    this.chosen[name] = value === "" ? null : value;
    this.changed();
  }

  reset() {
    for (const name of Object.keys(this.chosen)) this.chosen[name] = null;
    for (const select of this.element.querySelectorAll("select")) select.value = "";
    for (const output of this.element.querySelectorAll("output")) output.textContent = "default";
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
    const output = el("output", {}, "default");
    const input = el("input", { type: "range", name, "aria-label": label, min, max, step, value, oninput: () => {
      input.written();
      this.choose(name, Number(input.value));
    } });
    input.written = () => { output.textContent = written(Number(input.value)); };
    return el("label", { className: "field" }, el("span", {}, `${label} `, output), input);
  }

  maps() {
    const { sequential, diverging } = state.colours;
    return [["", "Default"], ...sequential.map((name) => [name, name]),
      ...diverging.map((name) => [name, `${name} (±)`])];
  }
}
