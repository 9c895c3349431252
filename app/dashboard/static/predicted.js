// Predicted against observed losses, out of fold: the better the law, the closer to the diagonal.

import { getJson } from "./api.js";
import { choice, h, show } from "./dom.js";
import { count, decimal, shortId } from "./format.js";
import { empty } from "./notices.js";
import { unitWords } from "./objective.js";
import { axis, draw, place } from "./plot.js";
import { select, selected } from "./query.js";

const OBJECTIVE = "";

/**
 * @param {HTMLElement} body
 * @param {HTMLElement} controls
 * @param {() => void} changed
 */
export function create(body, controls, changed) {
  return {
    /** @param {import("./api_types.js").Context} context */
    async update({ fit, study }) {
      if (fit?.state !== "succeeded") {
        show(controls, null, () => null);
        show(body, "none", () => empty("Nothing to compare yet", "The points appear here once a fit has finished."));
        return;
      }
      const law = selected("law") || fit.chosen_law;
      const target = selected("target");
      showChoices(controls, fit, study, law, target, changed);
      const chart = await getJson(`/charts/fits/${fit.id}/predicted`, { law, target });
      const plot = place(describe(chart), 380);
      if (show(body, chart, () => [measures(chart), plot])) {
        await draw(
          plot,
          (theme) => picture(chart, theme),
          (run) => {
            if (!run) return;
            select({ run });
            changed();
          },
        );
      }
    },
  };
}

function showChoices(controls, fit, study, law, target, changed) {
  const laws = fit.fidelity
    .filter((entry) => entry.skipped === null)
    .map((entry) => ({ value: entry.law, text: entry.law + (entry.law === fit.chosen_law ? " (chosen)" : "") }));
  const targets = [
    { value: OBJECTIVE, text: "objective (weighted mean)" },
    ...study.targets.map((entry) => ({ value: entry.name, text: entry.name })),
  ];
  show(controls, [fit.id, laws, targets, law, target], () => [
    choice("Law", laws, law, (value) => {
      select({ law: value });
      changed();
    }),
    choice("Target", targets, target, (value) => {
      select({ target: value });
      changed();
    }),
  ]);
}

function measures(chart) {
  const entry = (name, value, about) => h("div", { title: about }, h("dt", {}, name), h("dd", {}, value));
  const runs = new Set(chart.points.map((point) => point.run_id)).size;
  return h(
    "dl.measures",
    {},
    entry("Spearman", decimal(chart.spearman, 3), "rank correlation of predicted and observed, out of fold"),
    entry("MAE", decimal(chart.mae), "mean absolute error"),
    entry("MAE of the mean", decimal(chart.baseline_mae), "the error of always predicting the average"),
    entry("R²", decimal(chart.r2, 3), "explained share of the variance"),
    entry("Runs", String(runs), "runs with this target"),
    runs < chart.points.length && entry("Points", String(chart.points.length), "measured on the way and at the end"),
  );
}

function describe(chart) {
  const what = `Scatter of predicted against observed ${chart.target ?? "objective"}`;
  const measures = `Spearman ${decimal(chart.spearman, 3)}, mean absolute error ${decimal(chart.mae)}`;
  return `${what} for ${chart.points.length} points under ${chart.law}: ${measures}`;
}

function after(point) {
  return point.train_tokens === null ? "" : ` after ${count(point.train_tokens)} tokens`;
}

function picture(chart, theme) {
  const ends = [chart.low, chart.high];
  const unit = unitWords(chart.unit) && ` (${unitWords(chart.unit)})`;
  const both = { range: ends, nticks: 7 };
  return {
    data: [
      {
        type: "scatter",
        mode: "lines",
        name: "perfect prediction",
        x: ends,
        y: ends,
        line: { color: theme.quiet, width: 1.5, dash: "dash" },
        hoverinfo: "skip",
      },
      {
        type: "scatter",
        mode: "markers",
        name: "run",
        x: chart.points.map((point) => point.predicted),
        y: chart.points.map((point) => point.observed),
        marker: { size: 8, color: theme.chosen, opacity: 0.8, line: { width: 1, color: theme.card } },
        text: chart.points.map(
          (point) =>
            `run ${shortId(point.run_id)}${after(point)}<br>predicted ${decimal(point.predicted)}<br>observed ${decimal(point.observed)}`,
        ),
        customdata: chart.points.map((point) => point.run_id),
        hovertemplate: "%{text}<extra></extra>",
      },
    ],
    layout: {
      margin: { l: 8, r: 12, t: 30, b: 46 },
      hovermode: "closest",
      xaxis: axis(theme, `predicted${unit}`, both),
      yaxis: axis(theme, `observed${unit}`, both),
    },
  };
}
