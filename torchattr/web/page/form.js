// A form of the fields that the server derives from a signature.

import { el, unmarked } from "./dom.js";
import { state } from "./state.js";

const NUMBERS = { integer: { step: 1 }, squares: { step: 1, min: 1, max: 64 }, number: { step: "any" } };

/** A form; `values()` returns the values that differ from the defaults. */
export class Form {
  constructor(fields, submit, entered = {}) {
    this.fields = fields.map((field) => ({ field, input: input(field) }));
    this.element = el("form", { className: "form", onsubmit: (event) => { event.preventDefault(); submit(); } },
      this.fields.map(({ field, input: made }) => el("label", { className: "field", dataset: { kind: field.kind }, title: unmarked(field.doc) },
        el("span", {}, field.name.replaceAll("_", " ")), made)));
    for (const { field, input: made } of this.fields) {
      if (!(field.name in entered)) continue;
      if (field.kind === "switch") made.checked = entered[field.name];
      else made.value = entered[field.name] ?? "";
    }
  }

  values() {
    const values = {};
    for (const { field, input: made } of this.fields) {
      const value = read(field, made);
      if (value !== field.default) values[field.name] = value;
    }
    return values;
  }

  get valid() {
    return this.element.reportValidity();
  }
}

function input(field) {
  const known = { name: field.name, title: unmarked(field.doc) };
  if (field.kind === "switch") return el("input", { ...known, type: "checkbox", checked: field.default });
  if (field.kind === "choice") return choices(known, field, field.choices.map((choice) => [String(choice), String(choice)]));
  if (field.kind === "layer") {
    const layers = (state.layers?.layers ?? []).filter((layer) => layer.has_maps && layer.module);
    return choices(known, field, layers.map(({ name, shape }) => [name, `${name}  (${shape.join(" × ")})`]));
  }
  if (field.kind in NUMBERS) {
    return el("input", { ...known, type: "number", ...NUMBERS[field.kind], value: field.default ?? "",
      required: !field.optional, placeholder: field.optional ? "default" : "" });
  }
  const hint = field.kind === "rules" ? "gelu=guided" : field.optional ? "default" : "";
  return el("input", { ...known, type: "text", value: field.default ?? "", required: !field.optional, placeholder: hint, maxLength: 200 });
}

function choices(known, field, options) {
  const all = field.optional || field.default === null ? [["", "default"], ...options] : options;
  const made = el("select", known, all.map(([value, text]) => el("option", { value }, text)));
  made.value = field.default === null ? "" : String(field.default);
  return made;
}

function read(field, made) {
  if (field.kind === "switch") return made.checked;
  if (made.value === "") return null;
  if (field.kind in NUMBERS) return Number(made.value);
  if (field.kind === "choice") return field.choices.find((choice) => String(choice) === made.value);
  return made.value;
}
