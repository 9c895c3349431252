// What the runs of a study have cost, what those in work will cost, and what they may cost.

import { h } from "./dom.js";
import { percent } from "./format.js";

/**
 * @param {import("./api_types.js").Budget} budget
 * @returns {HTMLElement|null} null when nothing was spent and nothing limits it
 */
export function budgetBars(budget) {
  const bars = [
    bar("Compute", "FLOPs", budget.spent_flops, budget.reserved_flops, budget.flops),
    bar("GPU time", "GPU-hours", budget.spent_gpu_hours, budget.reserved_gpu_hours, budget.gpu_hours),
    // No budget binds what is trained without a GPU.
    bar("CPU time", "CPU-hours", budget.spent_cpu_hours, budget.reserved_cpu_hours, null),
  ].filter(Boolean);
  if (bars.length === 0) return null;
  return h(
    "div",
    {},
    bars,
    budget.exhausted &&
      h(
        "p.notice.warn",
        {},
        budget.exhausted_on_cpu
          ? "The budget is used up: the oldest queued run has no room, and agents get none until the limit is raised."
          : "The GPU-hours are used up: until the limit is raised, only agents without a GPU get the oldest queued run.",
      ),
  );
}

function bar(title, unit, spent, reserved, limit) {
  if (limit === null && spent + reserved === 0) return null;
  const said = `${title}: ${amount(spent)} ${unit} spent${reserved > 0 ? `, ${amount(reserved)} reserved` : ""}`;
  if (limit === null) return h("p.about", {}, `${said}; no limit.`);
  const share = (value) => (limit > 0 ? Math.min(value / limit, 1) : 1);
  const part = (kind, value) => {
    const element = h(`span.${kind}`);
    element.style.width = `${100 * value}%`;
    return element;
  };
  const used = share(spent);
  const text = `${said} of ${amount(limit)} ${unit} (${percent(limit > 0 ? spent / limit : 1)}).`;
  return h(
    "div.limit",
    {},
    h("span.about", {}, text),
    h(
      "span.bar",
      { role: "img", "aria-label": text },
      part("spent", used),
      part("reserved", Math.min(share(reserved), 1 - used)),
    ),
  );
}

/** @param {number} value @returns {string} small ones as they are, large ones as 1.2e15 */
function amount(value) {
  if (value === 0) return "0";
  return value >= 1e6 || value < 1e-3
    ? value.toExponential(2).replace("e+", "e")
    : String(Number(value.toPrecision(3)));
}
