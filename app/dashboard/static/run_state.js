// The states of a run: a sign and a word each, never a colour alone.

import { h } from "./dom.js";

/** @type {Record<string, {sign: string, kind: string, about: string}>} */
export const STATES = {
  queued: { sign: "○", kind: "plain", about: "waits for an agent" },
  leased: { sign: "◐", kind: "busy", about: "is being trained" },
  succeeded: { sign: "✓", kind: "good", about: "has its losses" },
  failed: { sign: "✕", kind: "bad", about: "diverged, or out of attempts" },
  cancelled: { sign: "–", kind: "plain", about: "taken back by a user" },
  pruned: { sign: "✂", kind: "plain", about: "stopped early on purpose" },
  stale: { sign: "◌", kind: "bad", about: "its agents fell silent as often as attempts are allowed" },
};

/** @param {string} state @returns {HTMLElement} */
export function stateTag(state) {
  const { sign, kind, about } = STATES[state] ?? { sign: "?", kind: "plain", about: "" };
  return h(`span.tag.${kind}`, { title: about }, `${sign} ${state}`);
}

/** @param {Record<string, number>} counts @returns {boolean} whether an agent has work */
export function isBusy(counts) {
  return (counts.queued ?? 0) + (counts.leased ?? 0) > 0;
}
