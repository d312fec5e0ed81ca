// State of the page: the model, the picture and the class, with change listeners.

const listeners = {};

export const state = {
  model: null,     // answer of api/model
  colours: null,   // colour tables, decoded
  pictures: [],
  picture: null,   // the chosen picture
  scores: null,    // answer of its scores
  target: null,    // { index, name, score }, or with the region of the picture that it is
  layers: null,    // { layers, default }
};

/** Call `listener` whenever one of these values changes. */
export function on(names, listener) {
  for (const name of names.split(" ")) (listeners[name] ??= []).push(listener);
}

/** Set a value and call its listeners. */
export function set(name, value) {
  state[name] = value;
  for (const listener of listeners[name] ?? []) listener(value);
}
