// Creating and finding elements.

export const byId = (id) => document.getElementById(id);

/** Create an element with properties, `on...` listeners, `dataset`, `aria-...` attributes and children. */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "dataset") Object.assign(element.dataset, value);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.includes("-") || name === "role" || name === "for" || name === "list") {
      element.setAttribute(name, value);
    } else element[name] = value;
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Replace the children of an element. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Convert the markup of a docstring to elements: `code`, ``code``, *emphasis*, :class:`Name`, :class:`~where.Name`. */
export function marked(text) {
  const pieces = text.split(/((?::\w+:)?(?:``[^`]+``|`[^`]+`)|\*[^*\s][^*]*\*)/);
  return pieces.map((piece) => {
    if (/^(:\w+:)?`/.test(piece)) return el("code", {}, piece.replace(/^:\w+:/, "").replaceAll("`", "").replace(/^~.*\./, ""));
    if (/^\*[^*]+\*$/.test(piece)) return el("em", {}, piece.slice(1, -1));
    return piece;
  });
}

/** Return the text of a docstring without its markup, where elements are not possible. */
export const unmarked = (text) => marked(text).map((piece) => piece.textContent ?? piece).join("");

/** Press one button of a group, and show it where the group is scrolled sideways. */
export function press(group, chosen) {
  for (const button of group.children) button.setAttribute("aria-pressed", String(button === chosen));
  group.scrollLeft += chosen.getBoundingClientRect().left - group.getBoundingClientRect().left - (group.clientWidth - chosen.offsetWidth) / 2;
}

/** Keep the height of an element until the returned function is called, so that the page does not jump. */
export function keepHeight(element) {
  element.style.minHeight = `${element.offsetHeight}px`;
  return () => { element.style.minHeight = ""; };
}

/** Move the focus with the arrow keys among buttons in rows of `columns()`. */
export function arrows(container, selector, columns = () => 1) {
  container.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(), ArrowDown: columns() }[event.key];
    const all = [...container.querySelectorAll(selector)];
    const at = all.indexOf(document.activeElement);
    if (step === undefined || at < 0 || !all[at + step]) return;
    event.preventDefault();
    all[at + step].focus();
  });
}

/** Format a number with three significant digits. */
export function short(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1e5 || size < 1e-3 ? value.toExponential(1) : String(Number(value.toPrecision(3)));
}

/** Format a probability in percent, never rounded to 0 or 100, as `torchattr.show` does. */
export function percent(share) {
  if (share < 0.0005) return "< 0.1 %";
  return share >= 0.9995 ? "> 99.9 %" : `${(100 * share).toFixed(1)} %`;
}

/** Format seconds for a person. */
export function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

/** A group of buttons of which one is pressed; returns the element and a function to press one. */
export function segmented(label, choices, chosen, change) {
  const buttons = choices.map(([value, text, title]) =>
    el("button", { type: "button", title, "aria-pressed": String(value === chosen), dataset: { value: String(value) },
      onclick: () => { press(value); change(value); } }, text));
  function press(value) {
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.value === String(value)));
  }
  const group = el("div", { className: "segments", role: "group", "aria-label": label }, buttons);
  arrows(group, "button");
  return { group, press };
}
