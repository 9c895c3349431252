// What was measured for the recommended mixture and its baselines, beside what was predicted.

import { h, nameCell, show, table, unitHeading } from "./dom.js";
import { decimal, interval, signed, words } from "./format.js";
import { curl, empty } from "./notices.js";
import { describeObjective } from "./objective.js";
import { axis, draw, nameAxis, plain, place } from "./plot.js";

const VERDICTS = {
  better: ["good", "✓", "better"],
  worse: ["bad", "✕", "worse"],
  "no difference shown": ["plain", "≈", "no difference shown"],
  "not enough runs": ["plain", "…", "not enough runs yet"],
};

/** @param {HTMLElement} body */
export function create(body) {
  return {
    /** @param {import("./api_types.js").Context} context */
    async update({ recommendation, verification, study }) {
      const arms = verification?.arms ?? [];
      if (arms.length === 0) {
        show(body, ["none", recommendation?.id, recommendation?.state], () => next(recommendation));
        return;
      }
      const measured = arms.filter((arm) => arm.mean !== null || arm.predicted !== null);
      const plot = place(describe(arms), 96 + 58 * measured.length);
      const objective = describeObjective(study.targets, recommendation);
      const rebuilt = show(body, [verification, objective], () => [
        verdicts(verification, objective.unit),
        h("div.chart-and-table", {}, plot, h("div", {}, numbers(verification, objective))),
      ]);
      if (rebuilt) await draw(plot, (theme) => picture(measured, objective.unit, theme));
    },
  };
}

function next(recommendation) {
  if (recommendation?.state !== "succeeded") {
    return empty(
      "Nothing to verify yet",
      "Once weights are recommended, train them beside the natural and the uniform mixture.",
    );
  }
  const body = { seeds: [1, 2, 3], settings: { corpus_hash: "CORPUS_HASH", train_tokens: 65536 } };
  return empty(
    "Not verified yet",
    "Train the recommended mixture, uniform and natural with three seeds each; give the settings of your proxy runs:",
    curl(`/recommendations/${recommendation.id}/verifications`, body),
  );
}

/** @param {string} verdict @returns {HTMLElement} never by colour alone */
export function verdictTag(verdict) {
  const [kind, sign, text] = VERDICTS[verdict] ?? ["plain", "", verdict];
  return h(`span.tag.${kind}`, {}, `${sign} ${text}`);
}

function verdicts(verification, unit) {
  return h(
    "ul.verdicts",
    {},
    verification.contrasts.map((contrast) =>
      h(
        "li",
        {},
        verdictTag(contrast.verdict),
        " ",
        h("span", {}, `against ${words(contrast.baseline)}`),
        contrast.difference !== null &&
          h(
            "span.about",
            {},
            ` recommended − ${words(contrast.baseline)} = ${signed(contrast.difference)}${unit && ` ${unit}`}, `,
            `95 % interval [${signed(contrast.low)}, ${signed(contrast.high)}]`,
          ),
      ),
    ),
  );
}

function describe(arms) {
  const all = arms.map(
    (arm) =>
      `${words(arm.name)} ${decimal(arm.mean)} with standard error ${decimal(arm.stderr)}, predicted ${decimal(arm.predicted?.mean)}`,
  );
  return `Measured objective of each mixture: ${all.join("; ")}`;
}

function picture(arms, unit, theme) {
  const at = arms.map((_, i) => i);
  const predicted = arms.map((arm, i) => ({ arm, i })).filter(({ arm }) => arm.predicted !== null);
  return {
    data: [
      {
        type: "scatter",
        mode: "markers",
        name: "measured, ± standard error",
        x: arms.map((arm) => arm.mean),
        y: at.map((i) => i - 0.13),
        error_x: {
          type: "data",
          array: arms.map((arm) => arm.stderr ?? 0),
          thickness: 2,
          width: 7,
          color: theme.chosen,
        },
        marker: { size: 11, color: theme.chosen },
        customdata: arms.map((arm) => [plain(words(arm.name)), decimal(arm.mean), decimal(arm.stderr), arm.seeds_done]),
        hovertemplate:
          "<b>%{customdata[0]}</b><br>measured %{customdata[1]} ± %{customdata[2]}<br>%{customdata[3]} seeds<extra></extra>",
      },
      {
        type: "scatter",
        mode: "markers",
        name: "predicted, 90 % interval",
        x: predicted.map(({ arm }) => arm.predicted.mean),
        y: predicted.map(({ i }) => i + 0.17),
        error_x: {
          type: "data",
          symmetric: false,
          thickness: 1.5,
          width: 7,
          color: theme.cap,
          array: predicted.map(({ arm }) => arm.predicted.high - arm.predicted.mean),
          arrayminus: predicted.map(({ arm }) => arm.predicted.mean - arm.predicted.low),
        },
        marker: { size: 10, symbol: "diamond-open", color: theme.cap, line: { width: 2 } },
        customdata: predicted.map(({ arm }) => [plain(words(arm.name)), interval(arm.predicted)]),
        hovertemplate: "<b>%{customdata[0]}</b><br>predicted %{customdata[1]}<extra></extra>",
      },
    ],
    layout: {
      margin: { l: 8, r: 16, t: 34, b: 46 },
      xaxis: axis(theme, `objective${unit && ` (${unit})`}`),
      yaxis: nameAxis(
        theme,
        arms.map((arm) => words(arm.name)),
      ),
    },
  };
}

function numbers(verification, { unit, words: made }) {
  const rows = verification.arms.map((arm) =>
    h(
      "tr",
      {},
      nameCell(words(arm.name)),
      h("td.number", {}, `${arm.seeds_done} of ${arm.seeds_asked}`),
      h("td.number", {}, h("strong", {}, decimal(arm.mean)), arm.stderr !== null && ` ± ${decimal(arm.stderr)}`),
      h("td.number", {}, interval(arm.predicted)),
    ),
  );
  return [
    table(
      ["Mixture", "#Seeds", unitHeading("Measured ± s.e.", unit), unitHeading("Predicted [90 %]", unit)],
      rows,
      "Measured and predicted objective of each mixture",
    ),
    h("p.about", {}, made),
    verification.notes.map((note) => h("p.about", {}, `${note}.`)),
    !verification.done && h("p.about", {}, "Verification runs are still being trained."),
  ];
}
