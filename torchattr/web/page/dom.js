// Making elements, and finding them.

export const byId = (id) => document.getElementById(id);

/** Make an element: properties by name, `on...` listeners, `dataset`, `aria-...`; then children. */
export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "dataset") Object.assign(made.dataset, value);
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name.includes("-") || name === "role" || name === "for" || name === "list") {
      made.setAttribute(name, value);
    } else made[name] = value;
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

/** Replace all that an element holds. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Turn the light markup of a docstring into elements: `code`, *emphasis*, :class:`Name`. */
export function marked(text) {
  const pieces = text.split(/(:\w+:`[^`]+`|`[^`]+`|\*[^*\s][^*]*\*)/);
  return pieces.map((piece) => {
    if (/^(:\w+:)?`/.test(piece)) return el("code", {}, piece.replace(/^:\w+:/, "").slice(1, -1));
    if (/^\*[^*]+\*$/.test(piece)) return el("em", {}, piece.slice(1, -1));
    return piece;
  });
}

/** Let arrow keys move the focus among buttons that lie in rows of `columns()`. */
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

/** Write a number so that its size can be told at a glance. */
export function short(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1e5 || size < 1e-3 ? value.toExponential(1) : String(Number(value.toPrecision(3)));
}

/** Write a share in percent, never rounded to certainty; the words of `torchattr.show`. */
export function percent(share) {
  if (share < 0.0005) return "< 0.1 %";
  return share >= 0.9995 ? "> 99.9 %" : `${(100 * share).toFixed(1)} %`;
}

/** A group of buttons of which one is pressed; gives the element and a function that presses. */
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
