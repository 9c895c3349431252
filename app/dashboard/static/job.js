// A fit or a recommendation on its way: where it is, and how to take it back.

import { action } from "./actions.js";
import { postJson } from "./api.js";
import { h } from "./dom.js";
import { percent } from "./format.js";
import { follow, unfollow } from "./job_stream.js";

/**
 * @param {"fits"|"recommendations"} kind
 * @param {string} title "The fit"
 * @param {{id: string, state: string, progress: number, error: string|null}} job
 * @param {string} message what its worker is at
 * @param {() => void} changed
 * @returns {HTMLElement|null} null when it has succeeded
 */
export function jobNotice(kind, title, job, message, changed) {
  const path = `/${kind}/${job.id}`;
  const waits = job.state === "queued" || job.state === "running";
  unfollow(`/${kind}/`, waits ? `${path}/events` : "");
  if (job.state === "failed") return h("p.notice.bad", {}, h("strong", {}, `${title} failed. `), job.error);
  if (job.state === "cancelled") return h("p.notice", {}, `${title} was cancelled.`);
  if (!waits) return null;
  const said = h("span.said", {}, sentence(title, job.state, message));
  const bar = h("progress", { max: 1, value: job.progress, "aria-label": `Progress: ${title.toLowerCase()}` });
  const share = h("span.number", {}, ` ${percent(job.progress)} `);
  const show = ({ state, progress, message: now }) => {
    said.textContent = sentence(title, state, now);
    bar.setAttribute("value", String(progress));
    share.textContent = ` ${percent(progress)} `;
  };
  follow(`${path}/events`, (progress) => (live.get(path) ?? show)(progress), changed);
  live.set(path, show);
  const cancel = () => postJson(`${path}/cancel`);
  return h(
    "div.notice.job",
    {},
    h("p", {}, said),
    bar,
    share,
    action("Cancel", { run: cancel, done: changed, sure: "Really cancel?", key: `cancel ${job.id}`, of: title }),
  );
}

/** What shows the progress of a job now; a page that is built anew replaces it. @type {Map<string, (progress: any) => void>} */
const live = new Map();

/** @param {string} title @param {string} state @param {string} message */
function sentence(title, state, message) {
  return state === "queued" ? `${title} waits for a worker.` : `${title} is running. ${message}`;
}
