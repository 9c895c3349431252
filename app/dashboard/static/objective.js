// The objective of a measured run: the weighted mean of its targets, a metric to be maximised counted negative.

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
