// The recommendation against another mixture: what moves, what it gains, what was asked differently.

import { getJson } from "./api.js";
import { choice, h, nameCell, show, table } from "./dom.js";
import { count, decimal, percent, shortId, signed, time, words } from "./format.js";
import { empty } from "./notices.js";
import { describeObjective } from "./objective.js";
import { select, selected } from "./query.js";
import { gained } from "./reasons.js";

const PRIOR = "prior";

/**
 * @param {HTMLElement} body
 * @param {HTMLElement} controls
 * @param {() => void} changed
 */
export function create(body, controls, changed) {
  return {
    /** @param {import("./api_types.js").Context} context */
    async update({ study, recommendation, recommendations }) {
      if (recommendation?.state !== "succeeded") {
        show(controls, null, () => null);
        show(body, "none", () => empty("Nothing to compare yet", "Once weights are recommended, see here what moves."));
        return;
      }
      const against = selected("against") || PRIOR;
      const options = mixtures(study, recommendation, recommendations);
      show(controls, [options, against], () =>
        choice("Against", options, against, (value) => {
          select({ against: value === PRIOR ? null : value });
          changed();
        }),
      );
      const diff = await getJson(`/recommendations/${recommendation.id}/diff`, { against });
      const { unit } = describeObjective(study.targets, recommendation);
      show(body, [diff, unit], () => content(diff, unit));
    },
  };
}

function mixtures(study, recommendation, recommendations) {
  const { adopted_recommendation_id: adopted, adopted_mixture: mixture } = study;
  const baselines = Object.keys(recommendation.predictions).filter((name) => name !== "recommended");
  const others = recommendations.filter((other) => other.id !== recommendation.id && other.state === "succeeded");
  return [
    { value: PRIOR, text: "prior" },
    ...(adopted && (adopted !== recommendation.id || mixture !== "recommended")
      ? [{ value: "adopted", text: `adopted weights (${words(mixture)})` }]
      : []),
    ...baselines.filter((name) => name !== PRIOR).map((name) => ({ value: name, text: words(name) })),
    ...others.map((other) => ({
      value: other.id,
      text: `${time(other.created_at)} · ${other.law} · ${shortId(other.id)}`,
    })),
  ];
}

function content(diff, unit) {
  const rows = [...diff.domains]
    .sort((a, b) => Math.abs(b.change) - Math.abs(a.change))
    .map((row) =>
      h(
        "tr",
        {},
        nameCell(row.domain),
        h("td.number", {}, percent(row.against)),
        h("td.number", {}, percent(row.weight)),
        h("td.number", {}, h("strong", {}, points(row.change))),
        h("td.number", {}, tokens(row.tokens_moved)),
        h("td.number", {}, signed(row.epochs_change, 2)),
      ),
    );
  return [
    h("p", {}, h("strong", {}, percent(diff.share_moved)), " of the mixture changes hands", moved(diff), "."),
    diff.gains
      ? h(
          "p",
          {},
          "Predicted gain in the objective: ",
          h("strong", {}, gained(diff.gains.objective)),
          `${unit && ` ${unit}`}, 90 % interval.`,
        )
      : h("p.about", {}, "The law of this recommendation does not know all domains of the other mixture."),
    table(
      ["Domain", "#There", "#Here", "#Change", "#Tokens", "#Epochs"],
      rows,
      "Weights there and here, largest change first",
    ),
    asked(diff),
  ];
}

const moved = ({ tokens_moved: n }) => (n === null ? "" : `, ${count(n)} of the planned tokens`);
const points = (change) => (change === 0 ? "0" : `${signed(100 * change, Math.abs(change) < 0.01 ? 2 : 1)} pp`);
const tokens = (n) => (n === null ? "–" : `${n > 0 ? "+" : ""}${count(Math.round(n)).replace("-", "−")}`);

/** What was asked differently, which only two recommendations can have. */
function asked({ objective, constraints, law, scale, runs }) {
  const changes = [
    ...Object.entries(objective).map(([name, change]) => [`objective: ${words(name)}`, change]),
    ...Object.entries(constraints).map(([name, change]) => [`constraints: ${words(name)}`, change]),
    ...(law ? [["law", law]] : []),
    ...(scale ? [["scale", scale]] : []),
  ];
  const rows = changes.map(([name, change]) =>
    h("tr", {}, nameCell(name), h("td", {}, value(change.there)), h("td", {}, value(change.here))),
  );
  return [
    rows.length > 0 && [
      h("h3", {}, "Asked differently"),
      table(["What", "There", "Here"], rows, "What was asked differently"),
    ],
    runs &&
      h(
        "p.about",
        {},
        runs.same_data
          ? "Both used the same runs."
          : `This one used ${runs.added} runs that the other did not, and lacks ${runs.removed} of the other's.`,
      ),
  ];
}

const value = (given) => (typeof given === "number" ? decimal(given, 4).replace(/\.?0+$/, "") : JSON.stringify(given));
