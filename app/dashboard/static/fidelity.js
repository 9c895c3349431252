// The laws side by side: how well each predicts runs that it has not seen, and which one was chosen.

import { choice, h, nameCell, show, table, unitHeading } from "./dom.js";
import { decimal, duration, percent, shortId, time } from "./format.js";
import { jobNotice } from "./job.js";
import { curl, empty } from "./notices.js";
import { describeObjective } from "./objective.js";
import { select } from "./query.js";

/**
 * @param {HTMLElement} body
 * @param {HTMLElement} controls
 * @param {() => void} changed
 */
export function create(body, controls, changed) {
  return {
    /** @param {import("./api_types.js").Context} context */
    async update({ study, fits, fit }) {
      const options = fits.map((entry) => ({
        value: entry.id,
        text: `${time(entry.created_at)} · ${entry.runs_used} runs · ${shortId(entry.id)}`,
      }));
      show(
        controls,
        [options, fit?.id],
        () =>
          options.length > 1 &&
          choice("Fit", options, fit?.id ?? "", (id) => {
            select({ fit: id, law: null, target: null });
            changed();
          }),
      );
      const objective = describeObjective(study.targets);
      show(body, [fit, study.run_counts.succeeded > 0, objective], () =>
        fit === null ? next(study) : content(fit, objective, changed),
      );
    },
  };
}

function next(study) {
  if (study.run_counts.succeeded > 0) {
    return empty(
      "No law is fitted yet",
      "Fit every law to the measured runs and compare them:",
      curl(`/studies/${study.id}/fits`, {}),
    );
  }
  return empty("No law is fitted yet", "Laws are fitted to measured runs; the study has none so far.");
}

function content(fit, objective, changed) {
  const waiting = jobNotice("fits", "The fit", fit, fit.message, changed);
  if (waiting) return waiting;
  return [
    fit.chosen_law && h("p", {}, "Chosen: ", h("strong", {}, fit.chosen_law), ". ", h("span.about", {}, fit.reason)),
    table(
      ["Law", "#Spearman", unitHeading("MAE", objective.unit), "#R²", "#Coverage", "#Time"],
      ordered(fit).map((law) => row(law, fit, changed)),
      "Fidelity of each law on the objective, out of fold",
    ),
    h(
      "p.about",
      {},
      `On the objective, out of fold: ${fit.folds} folds over ${fit.runs_used} runs${fit.points ? ` with ${fit.points.used} points` : ""}. `,
      "Coverage: the share of unseen runs inside their 90 % intervals. ",
      "The law “mean” always predicts the average and is the one to beat. ",
      objective.words,
    ),
  ];
}

/** @param {import("./api_types.js").Fit} fit @returns {import("./api_types.js").LawFidelity[]} best first, skipped last */
function ordered(fit) {
  const error = (law) => (law.skipped === null && law.objective_mae !== null ? law.objective_mae : Infinity);
  return [...fit.fidelity].sort((a, b) => error(a) - error(b));
}

function row(law, fit, changed) {
  const chosen = law.law === fit.chosen_law;
  if (law.skipped !== null) {
    return h("tr.skipped", {}, nameCell(law.law), h("td", { colspan: 5 }, `not fitted: ${law.skipped}`));
  }
  const pick = () => {
    select({ law: law.law });
    changed();
    document.getElementById("predicted")?.scrollIntoView({ block: "nearest" });
  };
  return h(
    `tr${chosen ? ".chosen" : ""}`,
    {},
    nameCell(
      law.law,
      h(
        "button.link",
        { type: "button", "data-focus": law.law, title: "Show its predictions", onclick: pick },
        law.law,
      ),
      chosen && [" ", h("span.tag.good", {}, "chosen")],
    ),
    h("td.number", {}, decimal(law.objective_spearman, 3)),
    h("td.number", {}, decimal(law.objective_mae)),
    h("td.number", {}, decimal(law.objective_r2, 3)),
    h("td.number", {}, percent(law.coverage90)),
    h("td.number", {}, duration(law.fit_seconds)),
  );
}
