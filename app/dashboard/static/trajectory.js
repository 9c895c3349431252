// One run: its weights, its losses over training tokens, and what it ended with.

import { getJson } from "./api.js";
import { attemptsTable } from "./attempts.js";
import { h, nameCell, show, table } from "./dom.js";
import { count, decimal, exact, percent, shortId, words } from "./format.js";
import { empty, failure } from "./notices.js";
import { unitWords } from "./objective.js";
import { axis, draw, plain, place } from "./plot.js";
import { selected } from "./query.js";
import { runActions } from "./run_actions.js";
import { stateTag } from "./run_state.js";

const DASHES = ["solid", "dash", "dot", "dashdot"];
const SIGNS = ["circle", "square", "diamond", "triangle-up", "x", "star"];
// More lines than this cannot be told apart; the others are in the legend and can be switched on.
const LINES_SHOWN = 9;

/**
 * @param {HTMLElement} body
 * @param {HTMLElement} controls
 * @param {() => void} changed
 */
export function create(body, controls, changed) {
  return {
    /** @param {import("./api_types.js").Context} context */
    async update({ study }) {
      const id = selected("run") || (await latestMeasured(study));
      if (!id) {
        show(controls, null, () => null);
        show(body, "none", () =>
          empty("No run is measured yet", "The losses of a run appear here while it is trained."),
        );
        return;
      }
      const run = await getJson(`/runs/${encodeURIComponent(id)}`);
      if (run.study_id !== study.id) {
        show(body, ["other", id], () => failure(new Error("This run belongs to another study.")));
        return;
      }
      const [chart, attempts] = await Promise.all([
        getJson(`/charts/runs/${run.id}/trajectory`),
        getJson(`/runs/${run.id}/attempts`),
      ]);
      show(controls, [run.id, run.label, run.state, run.exclude_from_fit], () => [
        h("p.run", {}, h("strong", {}, h("bdi", {}, run.label || shortId(run.id))), " ", stateTag(run.state)),
        runActions(run, changed, "run"),
      ]);
      const plot = chart.lines.length > 0 ? place(describe(chart), 380) : null;
      const rebuilt = show(body, [run, chart, attempts], () => [
        run.error && h(run.state === "pruned" ? "p.notice" : "p.notice.bad", {}, run.error),
        plot ??
          h(
            "p.notice",
            {},
            run.losses
              ? "Only the final losses of this run are known: it was not measured on the way."
              : "This run has no measurement yet.",
          ),
        h("div.two", {}, weightsTable(run, study), lossesTable(run, study)),
        run.stages && stagesTable(run, study),
        attemptsTable(attempts.items),
      ]);
      if (rebuilt && plot) await draw(plot, (theme) => picture(chart, theme));
    },
  };
}

/** @returns {Promise<string>} the first measured run of the study, or the first that is being trained */
async function latestMeasured(study) {
  for (const state of ["succeeded", "leased"]) {
    if (study.run_counts[state] > 0) {
      const page = await getJson(`/studies/${study.id}/runs`, { state, limit: 1 });
      if (page.items.length > 0) return page.items[0].id;
    }
  }
  return "";
}

function describe(chart) {
  const all = chart.lines.map(
    (line) => `${line.name} from ${decimal(line.losses[0])} to ${decimal(line.losses.at(-1))}`,
  );
  return `Losses over training tokens: ${all.join(", ")}`;
}

function picture(chart, theme) {
  const units = new Set(chart.lines.map((line) => line.unit));
  const [unit] = units;
  const isObjective = (i) => i === 0 && chart.lines.length > 1 && chart.lines[0].name === "objective";
  return {
    data: chart.lines.map((line, i) => {
      const color = isObjective(i) ? theme.ink : theme.lines[i % theme.lines.length];
      return {
        type: "scatter",
        mode: "lines+markers",
        // One axis for losses of several units: each line then says its own.
        name: plain(units.size > 1 && unitWords(line.unit) ? `${line.name} (${unitWords(line.unit)})` : line.name),
        x: line.tokens,
        y: line.losses,
        visible: i < LINES_SHOWN ? true : "legendonly",
        line: {
          color,
          width: isObjective(i) ? 3.5 : 2,
          dash: DASHES[Math.floor(i / theme.lines.length) % DASHES.length],
        },
        marker: { color, size: 7, symbol: SIGNS[i % SIGNS.length] },
        customdata: line.losses.map((loss, j) => [
          plain(line.name),
          exact(line.tokens[j]),
          line.stderr[j] === null ? decimal(loss) : `${decimal(loss)} ± ${decimal(line.stderr[j])}`,
          unitWords(line.unit),
        ]),
        hovertemplate: "<b>%{customdata[0]}</b><br>%{customdata[2]} %{customdata[3]}<br>after %{customdata[1]} tokens<extra></extra>",
      };
    }),
    layout: {
      margin: { l: 8, r: 16, t: 46, b: 46 },
      hovermode: "closest",
      xaxis: axis(theme, "training tokens", { tickformat: "~s", rangemode: "tozero" }),
      yaxis: axis(theme, units.size === 1 && unitWords(unit) ? `loss (${unitWords(unit)})` : "loss"),
    },
  };
}

/** A domain a row, a stage a column: what was asked for, and what was trained where that is known. */
function stagesTable(run, study) {
  const realised = run.realised_stages ?? [];
  const span = (stage) => `${count(stage.from_token)} to ${count(stage.to_token)}`;
  const rows = study.domain_set.domains.map(({ name }) =>
    h(
      "tr",
      {},
      nameCell(name),
      run.stages.map((stage) => h("td.number", {}, percent(stage.weights[name]))),
      realised.map((stage) => h("td.number", {}, percent(stage.weights[name] ?? 0))),
    ),
  );
  const heads = [...run.stages.map((stage) => `#${span(stage)}`), ...realised.map((stage) => `#Realised ${span(stage)}`)];
  return h(
    "div",
    {},
    h("p.about", {}, "The weights change on the way; fits leave this run out unless they ask for it."),
    table(["Domain", ...heads], rows, "Stages of this run, in tokens"),
  );
}

function weightsTable(run, study) {
  const rows = study.domain_set.domains.map((domain) =>
    h(
      "tr",
      {},
      nameCell(domain.name),
      h("td.number", {}, percent(run.weights[domain.name])),
      h("td.number", {}, percent(run.realised_weights?.[domain.name])),
    ),
  );
  return h(
    "div",
    {},
    table(["Domain", "#Asked", "#Realised"], rows, "Weights of this run"),
    h(
      "p.about",
      {},
      `${count(run.model_params)} non-embedding parameters, ${count(run.train_tokens)} tokens, seed ${run.seed}. Run ${run.id}.`,
    ),
  );
}

const OTHER_UNIT = { bits_per_byte: "nats_per_token", nats_per_token: "bits_per_byte" };

/** The loss of a target as its run measured it in the unit that the target does not have. */
function inTheOtherUnit(run, target) {
  const unit = OTHER_UNIT[target.unit];
  const loss = unit && run[unit]?.[target.name];
  return loss ? `${decimal(loss.value)} ${words(unit)}` : "";
}

function lossesTable(run, study) {
  if (!run.losses) return null;
  const rows = study.targets
    .filter((target) => run.losses[target.name])
    .map((target) => {
      const { value, stderr } = run.losses[target.name];
      return h(
        "tr",
        {},
        nameCell(target.name),
        h("td.number", {}, decimal(value)),
        h("td.number", {}, decimal(stderr)),
        h("td", {}, unitWords(target.unit) || h("span.about", {}, "not given")),
        h("td.number", {}, inTheOtherUnit(run, target)),
      );
    });
  return h("div", {}, table(["Target", "#Final", "#Standard error", "Unit", "#Also"], rows, "Final losses of this run"));
}
