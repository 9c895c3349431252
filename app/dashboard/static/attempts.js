// The history of a run: who claimed it, and how each attempt ended.

import { h, table } from "./dom.js";
import { duration, shortId, time } from "./format.js";

/** @type {Record<string, {sign: string, kind: string, about: string}>} */
const OUTCOMES = {
  succeeded: { sign: "✓", kind: "good", about: "reported its losses" },
  failed: { sign: "✕", kind: "bad", about: "the agent reported an error, or the run diverged" },
  preempted: { sign: "⇤", kind: "plain", about: "the agent was told to stop and gave the run back; it does not count" },
  stale: { sign: "◌", kind: "warn", about: "the agent fell silent and its lease ran out" },
  cancelled: { sign: "–", kind: "plain", about: "taken back by a user" },
  pruned: { sign: "✂", kind: "plain", about: "stopped early on purpose" },
};
const NOW = { sign: "◐", kind: "busy", about: "its agent holds it" };

/** @typedef {{attempt: number, agent_id: string, stack_size: number, started_at: string, ended_at: string|null, outcome: string|null, reason: string|null}} Attempt */

/** @param {Attempt[]} attempts @returns {HTMLElement|null} */
export function attemptsTable(attempts) {
  if (attempts.length === 0) return null;
  const rows = attempts.map((attempt) =>
    h(
      "tr",
      {},
      h("th.number", { scope: "row" }, attempt.attempt),
      h("td", {}, outcomeTag(attempt.outcome)),
      h("td", {}, h("a", { href: "/agents", title: attempt.agent_id }, shortId(attempt.agent_id))),
      h("td.number", {}, attempt.stack_size),
      h("td.time", {}, time(attempt.started_at)),
      h(
        "td.number",
        {},
        attempt.ended_at ? duration((Date.parse(attempt.ended_at) - Date.parse(attempt.started_at)) / 1000) : "–",
      ),
      h("td.note", {}, attempt.reason),
    ),
  );
  return h(
    "details",
    { open: attempts.length > 1 },
    h("summary", {}, attempts.length === 1 ? "One attempt" : `${attempts.length} attempts`),
    table(
      ["#Attempt", "Outcome", "Agent", "#Claimed together", "Claimed", "#Held for", "Reason"],
      rows,
      "Attempts at this run",
    ),
  );
}

/** @param {string|null} outcome */
function outcomeTag(outcome) {
  const { sign, kind, about } = outcome === null ? NOW : (OUTCOMES[outcome] ?? { sign: "?", kind: "plain", about: "" });
  return h(`span.tag.${kind}`, { title: about }, `${sign} ${outcome ?? "in training"}`);
}
