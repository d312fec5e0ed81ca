// What the page shows: the model, the picture and the class; who cares listens.

const listeners = {};

export const state = {
  model: null,     // what api/model says
  colours: null,   // the colour tables, read
  pictures: [],
  picture: null,   // one of them
  scores: null,    // the answer to its scores
  target: null,    // { index, name, score }
  layers: null,    // { layers, default }
};

/** Call `listener` whenever one of these changes. */
export function on(names, listener) {
  for (const name of names.split(" ")) (listeners[name] ??= []).push(listener);
}

/** Change something, and tell whoever listens. */
export function set(name, value) {
  state[name] = value;
  for (const listener of listeners[name] ?? []) listener(value);
}
