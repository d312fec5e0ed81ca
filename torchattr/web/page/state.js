// State of the page: the model, the picture and the class, with change listeners.

const listeners = {};

export const state = {
  model: null,     // answer of api/model
  chosen: null,    // name of the chosen model, if there are several
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

/** What questions say of the chosen model: nothing if it is the only one. */
export const ofModel = () => (state.chosen === null ? {} : { model: state.chosen });

/** Set a value and call its listeners. */
export function set(name, value) {
  state[name] = value;
  for (const listener of listeners[name] ?? []) listener(value);
}
