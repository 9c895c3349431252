// The page of one study: loads it, hands it to the sections, and does so again while something runs.

import { getJson } from "./api.js";
import * as changes from "./changes.js";
import * as data from "./data.js";
import * as exports from "./exports.js";
import * as fidelity from "./fidelity.js";
import { showHead } from "./head.js";
import { keepFresh, section } from "./keep_fresh.js";
import * as predicted from "./predicted.js";
import { selected } from "./query.js";
import * as reasons from "./reasons.js";
import { isBusy } from "./run_state.js";
import * as runs from "./runs.js";
import * as trajectory from "./trajectory.js";
import * as verification from "./verification.js";
import * as weights from "./weights.js";
import * as whatIf from "./what_if.js";

const SECTIONS = {
  weights,
  reasons,
  changes,
  exports,
  "what-if": whatIf,
  verification,
  fidelity,
  predicted,
  runs,
  trajectory,
  data,
};
const root = document.getElementById("study");
const id = encodeURIComponent(root.dataset.study);

/** Reloads at once; sections call it after a selection. Set when the polling starts. */
let reload = () => {};

const sections = Object.entries(SECTIONS).map(([name, module]) => {
  const card = document.getElementById(name);
  /** @type {HTMLElement} */
  const body = card.querySelector(".body");
  return { body, section: module.create(body, card.querySelector(".controls"), () => reload()) };
});

/** @returns {Promise<import("./api_types.js").Context>} everything that more than one section needs */
async function load() {
  const [study, fits, recommendations] = await Promise.all([
    getJson(`/studies/${id}`),
    getJson(`/studies/${id}/fits`, { limit: 50 }),
    getJson(`/studies/${id}/recommendations`, { limit: 50 }),
  ]);
  /** @type {import("./api_types.js").Recommendation|null} */
  const listed = chosen(recommendations.items, selected("recommendation"));
  const recommendation = listed && (await getJson(`/recommendations/${listed.id}`)); // lists leave the details out
  /** @type {import("./api_types.js").Fit|null} */
  const fit = chosen(fits.items, selected("fit") || recommendation?.fit_id || "");
  const done = recommendation?.state === "succeeded";
  const verified = done ? await getJson(`/recommendations/${recommendation.id}/verification`) : null;
  return {
    study,
    fits: fits.items,
    fit,
    recommendations: recommendations.items,
    recommendation,
    verification: verified,
  };
}

/**
 * @template {import("./api_types.js").Fit|import("./api_types.js").Recommendation} Item
 * @param {Item[]} items newest first
 * @param {string} wanted an id, or empty
 * @returns {Item|null} the wanted one, else the newest that succeeded, else the newest
 */
function chosen(items, wanted) {
  return (
    items.find((item) => item.id === wanted) ?? items.find((item) => item.state === "succeeded") ?? items[0] ?? null
  );
}

/** @param {import("./api_types.js").Context} context */
function somethingRuns({ study, fits, recommendations }) {
  return (
    isBusy(study.run_counts) ||
    [...fits, ...recommendations].some((job) => job.state === "queued" || job.state === "running")
  );
}

async function round() {
  const context = await load();
  showHead(document.getElementById("head"), context);
  await Promise.all(sections.map(({ body, section: shown }) => section(body, () => shown.update(context))));
  return somethingRuns(context);
}

reload = keepFresh(round, root);
