// What a reader can do with a run, by its state.

import { action } from "./actions.js";
import { patchJson, postJson } from "./api.js";
import { h } from "./dom.js";
import { shortId } from "./format.js";

const OPEN = new Set(["queued", "leased"]);
const AGAIN = new Set(["failed", "stale", "cancelled", "pruned"]);

/**
 * @param {import("./api_types.js").Run} run
 * @param {() => void} changed
 * @param {string} place where the buttons stand, which keeps their focus apart
 * @returns {HTMLElement}
 */
export function runActions(run, changed, place) {
  const path = `/runs/${run.id}`;
  const common = { done: changed, of: run.label || shortId(run.id) };
  const key = (what) => `${place} ${what} ${run.id}`;
  const exclude = !run.exclude_from_fit;
  return h(
    "div.buttons.small",
    {},
    OPEN.has(run.state) &&
      action("Cancel", {
        ...common,
        run: () => postJson(`${path}/cancel`),
        sure: "Really cancel?",
        key: key("cancel"),
      }),
    run.state === "leased" &&
      action("Prune", {
        ...common,
        run: () => postJson(`${path}/prune`),
        sure: "Really stop it?",
        about: "Stop it early: enough was seen of it",
        key: key("prune"),
      }),
    AGAIN.has(run.state) && action("Retry", { ...common, run: () => postJson(`${path}/retry`), key: key("retry") }),
    !AGAIN.has(run.state) &&
      action(exclude ? "Exclude" : "Include", {
        ...common,
        run: () => patchJson(path, { exclude_from_fit: exclude }),
        about: exclude ? "Keep this run out of later fits" : "Let later fits use this run",
        key: key("exclude"),
      }),
  );
}
