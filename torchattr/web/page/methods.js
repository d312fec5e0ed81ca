// The choice of a method: the common ones and those in use at once, all of them by family on demand.

import { arrows, el, fill, unmarked } from "./dom.js";
import { emptyState } from "./parts.js";

export class MethodChoice {
  /**
   * families: the names of the methods of each.
   * chosen: called with the method that the user chooses.
   */
  constructor(methods, families, chosen) {
    Object.assign(this, { methods, chosen, offered: new Map() });
    this.row = el("div", { className: "chips", role: "group", "aria-label": "Methods" });
    this.search = el("input", { type: "search", placeholder: "Find a method", "aria-label": "Find a method", oninput: () => this.find() });
    this.families = Object.entries(families).map(([family, names]) => this.family(family, names));
    this.none = emptyState("");
    this.all = el("div", { id: "all-methods", className: "families", role: "group", "aria-label": "All methods", hidden: true },
      this.search, this.families.map(({ element }) => element), this.none);
    this.more = el("button", { type: "button", className: "link more-methods", "aria-controls": "all-methods", onclick: () => this.show(this.all.hidden) },
      `All ${methods.length} methods`);
    this.element = el("div", { className: "methods" }, el("div", { className: "shown" }, this.row, this.more), this.all);
    methods.filter((one) => one.common).forEach((one) => this.offer(one));
    this.show(false);
    this.keys();
  }

  /** Keep a method among those that are shown at once. */
  offer(one) {
    if (this.offered.has(one)) return;
    this.offered.set(one, this.chip(one, () => this.chosen(one)));
    this.row.append(this.offered.get(one));
  }

  /** Mark a method as the chosen one, and show it. */
  press(one) {
    this.offer(one);
    for (const chip of this.chips()) chip.setAttribute("aria-pressed", String(chip.dataset.method === one.name));
  }

  show(open) {
    this.all.hidden = !open;
    this.more.setAttribute("aria-expanded", String(open));
    if (!open) return;
    this.search.value = "";
    this.find();
    this.search.focus();
  }

  /** Leave the methods that the search names: by title, name or family. */
  find() {
    const wanted = plain(this.search.value);
    for (const { family, element, chips } of this.families) {
      for (const { one, chip } of chips) chip.hidden = !plain(`${one.title} ${one.name} ${family}`).includes(wanted);
      element.hidden = chips.every(({ chip }) => chip.hidden);
    }
    this.none.hidden = this.families.some(({ element }) => !element.hidden);
    this.none.textContent = `No method matches “${this.search.value}”.`;
  }

  family(family, names) {
    const chips = names.map((name) => this.methods.find((one) => one.name === name))
      .map((one) => ({ one, chip: this.chip(one, () => this.take(one)) }));
    const element = el("div", { className: "family", role: "group", "aria-label": family }, el("h3", {}, family),
      el("div", { className: "chips" }, chips.map(({ chip }) => chip)));
    return { family, element, chips };
  }

  /** Choose a method from the list of all, which makes room for the result. */
  take(one) {
    this.show(false);
    this.chosen(one);
    this.offered.get(one).focus();
  }

  chip(one, run) {
    const title = one.unavailable ? `${one.title} is not available: ${one.unavailable}` : unmarked(one.about[0]);
    return el("button", { type: "button", className: "chip", "aria-pressed": "false", dataset: { method: one.name },
      disabled: Boolean(one.unavailable), title, onclick: run }, one.title);
  }

  chips() {
    return this.element.querySelectorAll("[data-method]");
  }

  keys() {
    const shown = ".chip:not([disabled], [hidden])";
    arrows(this.row, shown);
    arrows(this.all, `.family:not([hidden]) ${shown}`);
    this.all.addEventListener("keydown", (event) => {
      const first = this.all.querySelector(`.family:not([hidden]) ${shown}`);
      if (event.key === "Escape") {
        this.show(false);
        this.more.focus();
      } else if (event.target === this.search && event.key === "Enter") first?.click();
      else if (event.target === this.search && event.key === "ArrowDown") first?.focus();
      else return;
      event.preventDefault();
    });
  }
}

/** Return a text in which spelling makes no difference: “grad cam” is “Grad-CAM”. */
const plain = (text) => text.toLowerCase().replace(/[^\p{Letter}\p{Number}+]/gu, "");
