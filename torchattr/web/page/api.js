// Asking the server: one place for errors, for the progress bar and for giving up.

import { byId, el } from "./dom.js";

let pending = 0;
let showing = null;

/** Something that the server, or the way to it, refused; the message is a sentence. */
export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export const get = (path, signal) => asJson(request(path, { signal }));

/** Ask the model something, as a job that can be cancelled. */
export const post = (path, question, job) => asJson(request(path, {
  method: "POST", signal: job.signal, headers: { "Content-Type": "application/json" }, body: JSON.stringify({ ...question, job: job.id }),
}));

export function upload(file) {
  const form = new FormData();
  form.append("file", file);
  return asJson(request("api/pictures", { method: "POST", body: form }));
}

export async function floats(path, signal) {
  return new Float32Array(await (await request(path, { signal })).arrayBuffer());
}

export async function blob(path, signal) {
  return (await request(path, { signal })).blob();
}

/** Something that is asked for: its name at the server, its signal, and how to give it up. */
export function newJob() {
  const controller = new AbortController();
  const id = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  const cancel = () => {
    controller.abort();
    // What was answered meanwhile is not there to be cancelled, which is as good.
    fetch(`api/jobs/${id}`, { method: "DELETE", credentials: "same-origin" }).catch(() => {});
  };
  return { id, signal: controller.signal, abort: () => controller.abort(), cancel };
}

/** Give jobs of which the one before is given up whenever a new one is asked for. */
export function latest() {
  let job = null;
  return () => {
    job?.abort();
    job = newJob();
    return job;
  };
}

/** Run something, and say in a sentence what went wrong; nothing is said of what was given up. */
export async function saying(run) {
  try {
    return await run();
  } catch (error) {
    if (error.name !== "AbortError") say(error.message);
    return undefined;
  }
}

export function say(text, kind = "error") {
  const message = el("div", { className: `message ${kind}`, role: kind === "error" ? "alert" : "status" },
    el("p", {}, text),
    el("button", { type: "button", className: "quiet", "aria-label": "Close", onclick: () => message.remove() }, "×"));
  byId("messages").append(message);
  while (byId("messages").children.length > 3) byId("messages").firstChild.remove();
  setTimeout(() => message.remove(), kind === "error" ? 15000 : 6000);
}

async function asJson(answer) {
  return (await answer).json();
}

async function request(path, options) {
  started();
  try {
    const response = await fetch(path, { credentials: "same-origin", ...options });
    if (!response.ok) throw new Refused(await sentence(response), response.status);
    return response;
  } catch (error) {
    if (error instanceof TypeError) throw new Refused("The viewer does not answer. Is it still running in its terminal?", 0);
    throw error;
  } finally {
    finished();
  }
}

async function sentence(response) {
  try {
    return (await response.json()).error;
  } catch {
    return `The viewer answered with the status ${response.status}.`;
  }
}

function started() {
  pending += 1;
  // What is quick needs no bar.
  showing ??= setTimeout(() => { byId("progress").hidden = false; }, 150);
}

function finished() {
  pending -= 1;
  if (pending > 0) return;
  clearTimeout(showing);
  showing = null;
  byId("progress").hidden = true;
}
