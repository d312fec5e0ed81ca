// The state of the page in the fragment of its address, which restores it and is never sent to the server.

const readers = {};
let timer = null;

/** What the address said when the page was opened, `{name: text}`; `{}` if nothing. */
export const opened = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));

/** Keep a value in the address: `read` returns its text, or null where there is nothing to say. */
export function keep(name, read) {
  readers[name] = read;
}

/** Write the state into the address, a moment after the last change. */
export function changed() {
  clearTimeout(timer);
  timer = setTimeout(write, 150);
}

/** Return an object or array of the address, written in JSON; null if there is none or it is damaged. */
export function decoded(name) {
  try {
    const value = JSON.parse(opened[name] ?? "null");
    return typeof value === "object" ? value : null;
  } catch {
    return null;
  }
}

/** Return an object or array as text for the address; null if there is nothing in it. */
export function encoded(value) {
  return Object.keys(value).length ? JSON.stringify(value) : null;
}

function write() {
  const values = Object.entries(readers).map(([name, read]) => [name, read()]);
  const said = new URLSearchParams(values.filter(([, value]) => value !== null && value !== undefined && value !== ""));
  history.replaceState(null, "", `#${said}`);
}

/** An address that is pasted into the open page opens another state. */
export function start() {
  addEventListener("hashchange", () => location.reload());
}
