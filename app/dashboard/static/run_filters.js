// Which runs are shown: all filters are the API's, so that a study of any size stays quick.

import { action } from "./actions.js";
import { postJson } from "./api.js";
import { choice, h, labelled, show } from "./dom.js";
import { exact } from "./format.js";
import { selected } from "./query.js";
import { STATES } from "./run_state.js";

const SOURCES = ["proxy", "imported", "manual", "adaptive"];
const FIDELITIES = ["trained", "merged"];
const WAIT_MILLISECONDS = 300;

/** @typedef {{state: string, source: string, fidelity: string, purpose: string, search: string}} Filter */

/** @returns {Filter} as the address says */
export function filterNow() {
  const [state, source, fidelity, purpose, search] = ["state", "source", "fidelity", "purpose", "search"].map(selected);
  return { state, source, fidelity, purpose, search };
}

/** @param {Filter} filter @returns {import("./api.js").Query} as the API takes it */
export function queryOf({ state, source, fidelity, purpose, search }) {
  return { state, source, fidelity, purpose, label: search };
}

/**
 * @param {HTMLElement} controls
 * @param {import("./api_types.js").Study} study
 * @param {Filter} now
 * @param {Set<string>} purposes that were seen
 * @param {(changes: Record<string, string>) => void} filter
 * @param {() => void} changed
 */
export function showFilters(controls, study, now, purposes, filter, changed) {
  const total = Object.values(study.run_counts).reduce((a, b) => a + b, 0);
  if (total === 0) {
    show(controls, null, () => null);
    return;
  }
  const known = [...purposes, ...(now.purpose && !purposes.has(now.purpose) ? [now.purpose] : [])];
  const waiting = study.run_counts.queued > 0;
  show(controls, [study.run_counts, { ...now, search: "" }, known], () => [
    states(study, total, now, filter),
    choice("Source", options(SOURCES), now.source, (value) => filter({ source: value })),
    choice("Fidelity", options(FIDELITIES), now.fidelity, (value) => filter({ fidelity: value })),
    choice("Purpose", options(known), now.purpose, (value) => filter({ purpose: value })),
    searchBox(now.search, filter),
    waiting && cancelQueued(study, changed),
  ]);
}

function states(study, total, now, filter) {
  const button = (state, text) =>
    h(
      "button.filter",
      {
        type: "button",
        "aria-pressed": now.state === state ? "true" : "false",
        "data-focus": `state ${state}`,
        onclick: () => filter({ state }),
      },
      text,
    );
  return h(
    "div.filters",
    { role: "group", "aria-label": "State" },
    button("", `all ${exact(total)}`),
    Object.entries(STATES)
      .filter(([state]) => study.run_counts[state] > 0 || state === now.state)
      .map(([state, { sign }]) => button(state, `${sign} ${state} ${exact(study.run_counts[state] ?? 0)}`)),
  );
}

/** @param {string[]} names */
const options = (names) => [{ value: "", text: "all" }, ...names.map((value) => ({ value, text: value }))];

function searchBox(value, filter) {
  let waiting = 0;
  const typed = (event) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => filter({ search: event.target.value.trim() }), WAIT_MILLISECONDS);
  };
  return labelled(
    "Search",
    h("input", { type: "search", value, placeholder: "part of a label", "data-focus": "search", oninput: typed }),
  );
}

/** Takes back what waits, under the filters that are set when it is pressed. */
function cancelQueued(study, changed) {
  const run = () => {
    const { source, fidelity, purpose, search } = filterNow();
    const given = { source, fidelity, purpose, label: search };
    const filter = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== ""));
    return postJson(`/studies/${study.id}/runs/cancel`, filter);
  };
  return action("Cancel queued", {
    run,
    done: changed,
    sure: "Really cancel all that wait under these filters?",
    about: "Takes back the queued runs that fit source, fidelity, purpose and search; those in training go on",
  });
}
