// The answers of methods, newest first: their maps with what was returned beside them.

import * as api from "./api.js";
import { comparing } from "./compare.js";
import { el, fill } from "./dom.js";
import { emptyState, partElement } from "./parts.js";

const MOST = 24;

export class Results {
  /**
   * nothing: the text where there are no results.
   * style: returns the chosen style of maps.
   * changed: called when answers were added or removed.
   */
  constructor(nothing, style, changed) {
    Object.assign(this, { nothing, style, changed, answers: [] });
    this.element = el("div", { className: "results" });
    this.clear();
  }

  /** The questions that were answered, oldest first. */
  get questions() {
    return this.answers.map(({ question }) => question);
  }

  /** The cards of all maps, those of the oldest answer first. */
  get maps() {
    return this.answers.flatMap(({ cards }) => cards);
  }

  /** Show a placeholder until the promise of an answer is settled, then the answer. */
  async expect(placeholder, question, picture, promise) {
    if (!this.answers.length) this.element.querySelector(".empty")?.remove();
    this.element.prepend(placeholder);
    try {
      await this.show(placeholder, question, picture, await promise);
    } finally {
      placeholder.remove();
      this.tidy();
    }
  }

  async show(placeholder, question, picture, answer) {
    const actions = [
      { text: "Compare", about: "Lay another map of this picture over it, with a slider", run: comparing },
      { text: "Remove", run: (card) => this.remove(card.part.id) },
    ];
    const made = answer.parts.map((part) => partElement(part, picture, {
      detail: [answer.title, picture.name, question.model].filter(Boolean).join(" · "), note: [answer.note, ...answer.notes].filter(Boolean).join(" · "), actions,
    }));
    answer.parts.forEach((part) => this.remove(part.id));
    const found = { question, cards: made.map(({ card }) => card).filter(Boolean), elements: made.map(({ element }) => element) };
    await Promise.all(found.cards.map((card) => card.paint(this.style())));
    placeholder.replaceWith(...arranged(found));
    this.answers.push(found);
    while (this.element.children.length > MOST) this.element.lastChild.remove();
    this.answers = this.answers.filter((one) => one.elements.some((element) => this.element.contains(element)));
    this.changed();
  }

  /** Remove a map, and with the last map of an answer what was shown with it. */
  remove(id) {
    const answer = this.answers.find(({ cards }) => cards.some(({ part }) => id && part.id === id));
    if (!answer) return;
    answer.cards.filter(({ part }) => part.id === id).forEach(({ element }) => element.remove());
    answer.cards = answer.cards.filter(({ part }) => part.id !== id);
    if (!answer.cards.length) {
      const whole = answer.elements[0].closest(".answer");
      [whole, ...answer.elements].forEach((element) => element?.remove());
      this.answers = this.answers.filter((one) => one !== answer);
    }
    this.tidy();
    this.changed();
  }

  clear() {
    this.answers = [];
    fill(this.element);
    this.tidy();
    this.changed();
  }

  tidy() {
    if (!this.element.children.length) fill(this.element, emptyState(this.nothing));
  }

  repaint() {
    const chosen = this.style();
    const shown = this.maps.filter(({ element }) => this.element.contains(element));
    return api.reporting(() => Promise.all(shown.map((card) => card.paint(chosen))));
  }
}

/** Return the maps alone, or beside what was returned with them. */
function arranged({ cards, elements }) {
  const maps = elements.filter((element) => cards.some((card) => card.element === element));
  const others = elements.filter((element) => !maps.includes(element));
  if (!maps.length || !others.length) return elements;
  return [el("div", { className: "answer" }, el("div", { className: "results" }, maps), el("div", { className: "results" }, others))];
}
