// The objective: the weighted mean of the targets, a metric to be maximised counted negative; and in which unit it is.

import { words } from "./format.js";

/**
 * @param {import("./api_types.js").Run} run
 * @param {import("./api_types.js").Target[]} targets
 * @returns {number|null} null when a target that counts was not measured
 */
export function objectiveOf(run, targets) {
  let sum = 0;
  let total = 0;
  for (const target of targets) {
    if (target.weight === 0) continue;
    const loss = run.losses?.[target.name];
    if (loss === undefined) return null;
    sum += target.weight * (target.direction === "maximize" ? -loss.value : loss.value);
    total += target.weight;
  }
  return total > 0 ? sum / total : null;
}

/** A study may have been told no unit. */
const UNKNOWN = "unknown";

/** @param {string} unit @returns {string} in words; empty where it is not known */
export const unitWords = (unit) => (unit === UNKNOWN ? "" : words(unit));

/** @param {import("./api_types.js").Target} target @returns {string} its unit, and its direction where that is not a loss's */
export function measureWords(target) {
  return [unitWords(target.unit), target.direction === "maximize" && "higher is better"].filter(Boolean).join(", ");
}

/**
 * What the numbers of an objective are: their unit, and what they are made of.
 * @param {import("./api_types.js").Target[]} targets
 * @param {import("./api_types.js").Recommendation|null} [recommendation] may ask for other weights, or for the worst excess
 * @returns {{unit: string, words: string}} the unit is empty where the targets do not share a known one
 */
export function describeObjective(targets, recommendation = null) {
  const asked = recommendation?.objective;
  const shares = recommendation?.details?.target_weights;
  const counted = targets.filter((target) => (shares ? (shares[target.name] ?? 0) : target.weight) > 0);
  const units = [...new Set(counted.map((target) => unitWords(target.unit)))];
  const unit = asked?.worst_in_spreads ? "standard deviations over the runs" : units.length === 1 ? units[0] : "";
  const what = asked?.minimise_worst ? excess(asked) : "the weighted mean of the targets";
  const mixed = units.length > 1 && !asked?.worst_in_spreads;
  const named = mixed ? units.map((each) => each || "unit not given").join(", ") : unit || "unit not given";
  const negative = counted.some((target) => target.direction === "maximize");
  return {
    unit,
    words:
      `Objective: ${what}${mixed ? " in their own, mixed units" : ""} (${named}` +
      `${negative ? "; a target to be maximised counts negative" : ""}). Lower is better.`,
  };
}

const excess = ({ worst_by: by, reference }) =>
  `the largest excess of a ${by === "families" ? "family" : "target"} over the ${words(reference ?? "natural")} mixture`;
