// Requests to the server, with errors, the progress bar and cancellation in one place.

import { byId, el } from "./dom.js";

let pending = 0;
let showing = null;

/** A request that failed; the message is shown to the user. */
export class RequestError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export const get = (path, signal) => asJson(request(path, { signal }));

/** Run a job on the model; it can be cancelled. */
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

/** A new job: its id, its abort signal, and functions to abort the request or cancel the job. */
export function newJob() {
  const controller = new AbortController();
  const id = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  const cancel = () => {
    controller.abort();
    // The job may have finished meanwhile, so an error is ignored.
    fetch(`api/jobs/${id}`, { method: "DELETE", credentials: "same-origin" }).catch(() => {});
  };
  return { id, signal: controller.signal, abort: () => controller.abort(), cancel };
}

/** List the queued and running jobs; it does not count as a request in progress itself. */
export async function jobs() {
  const response = await fetch("api/jobs", { credentials: "same-origin" });
  return response.ok ? response.json() : [];
}

/** Return a function that creates jobs and aborts the previous one. */
export function latest() {
  let job = null;
  return () => {
    job?.abort();
    job = newJob();
    return job;
  };
}

/** Run a function and notify the user of errors, except of aborted requests. */
export async function reporting(run) {
  try {
    return await run();
  } catch (error) {
    if (error.name !== "AbortError") notify(error.message);
    return undefined;
  }
}

export function notify(text, kind = "error") {
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
  begin();
  try {
    const response = await fetch(path, { credentials: "same-origin", ...options });
    if (!response.ok) throw new RequestError(await errorMessage(response), response.status);
    return response;
  } catch (error) {
    if (error instanceof TypeError) throw new RequestError("The viewer is not responding. Is it still running in its terminal?", 0);
    throw error;
  } finally {
    end();
  }
}

async function errorMessage(response) {
  try {
    return (await response.json()).error;
  } catch {
    return `The viewer returned status ${response.status}.`;
  }
}

function begin() {
  pending += 1;
  // No progress bar for quick requests.
  showing ??= setTimeout(() => { byId("progress").hidden = false; }, 150);
}

function end() {
  pending -= 1;
  if (pending > 0) return;
  clearTimeout(showing);
  showing = null;
  byId("progress").hidden = true;
}
