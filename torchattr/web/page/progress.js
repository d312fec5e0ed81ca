// How far jobs are, which the server is asked while any of them takes long.

import * as api from "./api.js";
import { duration, el } from "./dom.js";

const EVERY = 400;
const watched = new Map();
let timer = null;

/** A placeholder for a job in progress: how far it is, and a button to cancel it. */
export function waiting(title, job, cancelled = () => {}) {
  const bar = el("progress", { max: 1, hidden: true, "aria-label": title });
  const spinner = el("span", { className: "spinner", "aria-hidden": "true" });
  const said = el("p", { className: "more" });
  const element = el("div", { className: "result waiting", "aria-busy": "true" }, spinner, el("p", {}, `${title} …`), bar, said,
    el("button", { type: "button", className: "button cancel", "aria-label": `Cancel: ${title}`,
      onclick: () => { job.cancel(); cancelled(); } }, "Cancel"));
  watched.set(job.id, { element, show: (report) => {
    bar.hidden = report.share === null;
    spinner.hidden = !bar.hidden;
    bar.value = report.share ?? 0;
    said.textContent = described(report);
  } });
  timer ??= setTimeout(ask, EVERY);
  return element;
}

function described({ begun, share, remaining, seconds }) {
  if (!begun) return "Waiting for another job";
  if (share === null) return `${duration(seconds)} so far`;
  const done = `${Math.floor(100 * share)} %`;
  return remaining === null ? done : `${done}, about ${duration(remaining)} left`;
}

async function ask() {
  for (const [id, { element }] of watched) if (!element.isConnected) watched.delete(id);
  timer = null;
  if (!watched.size) return;
  try {
    for (const report of await api.jobs()) watched.get(report.job)?.show(report);
  } catch {
    // The request of the job itself reports that the viewer does not respond.
  }
  timer = setTimeout(ask, EVERY);
}
