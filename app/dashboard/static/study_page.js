// The page of one study: loads it, hands it to the sections, and does so again while something runs.

import { ApiError, getJson, logIn } from "./api.js";
import * as data from "./data.js";
import { h, show } from "./dom.js";
import * as fidelity from "./fidelity.js";
import { showHead } from "./head.js";
import { fresh, stale } from "./live.js";
import { failure } from "./notices.js";
import { poll } from "./poll.js";
import * as predicted from "./predicted.js";
import { selected } from "./query.js";
import { isBusy } from "./run_state.js";
import * as runs from "./runs.js";
import * as trajectory from "./trajectory.js";
import * as verification from "./verification.js";
import * as weights from "./weights.js";

const SECTIONS = { weights, verification, fidelity, predicted, runs, trajectory, data };
const root = document.getElementById("study");
const problem = document.getElementById("problem");
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
  const recommendation = chosen(recommendations.items, selected("recommendation"));
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
  let context;
  try {
    context = await load();
  } catch (error) {
    return refuse(error);
  }
  show(problem, "", () => null);
  root.hidden = false;
  showHead(document.getElementById("head"), context);
  await Promise.all(
    sections.map(async ({ body, section }) => {
      try {
        await section.update(context);
      } catch (error) {
        show(body, ["error", error.message], () => failure(error));
      }
    }),
  );
  const busy = somethingRuns(context);
  fresh(busy);
  return busy;
}

/** @param {Error} error @returns {boolean} whether to ask again soon */
function refuse(error) {
  const status = error instanceof ApiError ? error.status : -1;
  if (status === 401) {
    logIn();
    return false;
  }
  const wrong = status === 404 || status === 422;
  if (status === 0) stale();
  show(problem, error.message, () => [
    failure(error),
    wrong && h("p", {}, h("a", { href: "/" }, "See the studies that there are")),
  ]);
  root.hidden = wrong;
  return status === 0;
}

reload = poll(round);
