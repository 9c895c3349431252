// Recommended weights against the prior, with the cap and the epochs that they imply.

import { action } from "./actions.js";
import { getJson, postJson } from "./api.js";
import { choice, h, nameCell, show, table, unitHeading } from "./dom.js";
import { count, decimal, epochs, interval, percent, shortId, time, times, words } from "./format.js";
import { jobNotice } from "./job.js";
import { curl, empty } from "./notices.js";
import { describeObjective, measureWords } from "./objective.js";
import { axis, draw, nameAxis, plain, place } from "./plot.js";
import { select } from "./query.js";

const RECOMMENDED = "recommended";
const MEASURED = "best_measured";

/**
 * @param {HTMLElement} body
 * @param {HTMLElement} controls
 * @param {() => void} changed
 */
export function create(body, controls, changed) {
  return {
    /** @param {import("./api_types.js").Context} context */
    async update(context) {
      const { study, recommendation } = context;
      showChoice(controls, context, changed);
      const ready = recommendation?.state === "succeeded" ? recommendation : null;
      const chart = await getJson(`/charts/studies/${study.id}/weights`, { recommendation: ready?.id });
      const plot = place(describe(chart), Math.max(150, 70 + chart.bars.length * (chart.bars.length > 20 ? 26 : 50)));
      const rebuilt = show(body, [chart, recommendation, context.fit?.id, study.targets, study.adopted_reason], () => [
        recommendation === null ? next(context) : progress(recommendation, changed),
        ready !== null && ready.id === study.adopted_recommendation_id && adopted(study),
        h("div.chart-and-table", {}, plot, h("div", {}, numbers(chart))),
        ready && predictions(ready, study),
      ]);
      if (rebuilt) await draw(plot, (theme) => picture(chart, theme));
    },
  };
}

function showChoice(controls, { study, recommendations, recommendation }, changed) {
  const { adopted_recommendation_id: adopted, adopted_mixture: mixture } = study;
  const options = recommendations.map((r) => ({
    value: r.id,
    text: `${time(r.created_at)} · ${r.law} · ${shortId(r.id)}${r.id === adopted ? ` · adopted: ${words(mixture)}` : ""}`,
  }));
  show(controls, [options, recommendation?.id, recommendation?.state, mixture], () => [
    options.length > 1 &&
      choice("Recommendation", options, recommendation?.id ?? "", (id) => {
        select({ recommendation: id, fit: null, law: null }); // the fit that it came from is shown beside it
        changed();
      }),
    recommendation?.state === "succeeded" && adoptions(recommendation, study, changed),
  ]);
}

/** What is adopted of the recommendation, and a button for each mixture that can be; the offered one comes first. */
function adoptions(recommendation, study, changed) {
  const offered = recommendation.details?.offered.mixture ?? RECOMMENDED;
  const all = MEASURED in recommendation.predictions ? [RECOMMENDED, MEASURED] : [RECOMMENDED];
  all.sort((a, b) => Number(b === offered) - Number(a === offered));
  return all.map((mixture) =>
    recommendation.id === study.adopted_recommendation_id && mixture === study.adopted_mixture
      ? h("span.tag.good", { title: `training pipelines read it: ${study.adopted_reason}` }, `✓ adopted: ${words(mixture)}`)
      : adoption(recommendation, mixture, mixture === offered, changed),
  );
}

function adoption(recommendation, mixture, offered, changed) {
  return action(`Adopt ${words(mixture)}`, {
    run: () => postJson(`/recommendations/${recommendation.id}/adopt`, { mixture }),
    done: changed,
    sure: offered ? "Pipelines read these weights then: adopt?" : "The recommendation offers the other mixture: adopt?",
    about: "Training pipelines that ask for the weights of this study get these from then on",
  });
}

const adopted = ({ adopted_mixture: mixture, adopted_reason: reason }) =>
  h("p.about", {}, `Training pipelines read the ${words(mixture)} mixture: ${reason}.`);

function next({ study, fit }) {
  if (fit?.state === "succeeded") {
    return empty(
      "No recommendation yet",
      "The laws are fitted. Ask for the best weights under the chosen one:",
      curl(`/studies/${study.id}/recommendations`, { fit_id: fit.id }),
    );
  }
  return h(
    "p.about",
    {},
    "No recommendation yet: below are the natural shares and the caps of the study. ",
    "Recommended weights appear here once a law is fitted.",
  );
}

function progress(recommendation, changed) {
  const { progress_message: said, law, message } = recommendation;
  const waiting = jobNotice("recommendations", "The recommendation", recommendation, said, changed);
  return waiting ?? h("p.about", {}, `Under the law ${law}. `, message);
}

function describe(chart) {
  const all = chart.bars.map(
    (bar) => `${bar.domain} ${percent(bar.prior)}${bar.weight === null ? "" : ` to ${percent(bar.weight)}`}`,
  );
  return `Bar chart of weights, prior to recommended: ${all.join(", ")}`;
}

function picture(chart, theme) {
  const at = chart.bars.map((_, i) => i);
  const many = chart.bars.length > 20;
  const bars = (name, key, epochsKey, color) => ({
    type: "bar",
    orientation: "h",
    name,
    y: at,
    x: chart.bars.map((bar) => bar[key]),
    marker: { color },
    text: chart.bars.map((bar) =>
      many || bar[epochsKey] === null || bar[key] === null ? "" : `${epochs(bar[epochsKey])} ep.`,
    ),
    textposition: "outside",
    textfont: { size: 11, color: theme.quiet },
    cliponaxis: false,
    customdata: chart.bars.map((bar) => [plain(bar.domain), percent(bar[key]), epochs(bar[epochsKey])]),
    hovertemplate: `<b>%{customdata[0]}</b><br>${name}: %{customdata[1]}<br>epochs: %{customdata[2]}<extra></extra>`,
  });
  const capped = chart.bars
    .map((bar, i) => ({ bar, i }))
    .filter(({ bar }) => bar.cap !== null && bar.cap <= chart.axis_max);
  const caps = {
    type: "scatter",
    mode: "markers",
    name: "largest weight allowed",
    x: capped.map(({ bar }) => bar.cap),
    y: capped.map(({ i }) => i),
    marker: { symbol: "line-ns-open", size: many ? 16 : 32, color: theme.cap, line: { width: 3, color: theme.cap } },
    customdata: capped.map(({ bar }) => [plain(bar.domain), percent(bar.cap)]),
    hovertemplate: "<b>%{customdata[0]}</b><br>at most %{customdata[1]}<extra></extra>",
  };
  /** @type {object[]} */
  const data = [bars("prior", "prior", "prior_epochs", theme.prior)];
  if (chart.recommendation_id !== null) data.push(bars("recommended", "weight", "epochs", theme.chosen));
  if (capped.length) data.push(caps);
  return {
    data,
    layout: {
      barmode: "group",
      bargap: 0.28,
      bargroupgap: 0.06,
      margin: { l: 8, r: 24, t: 34, b: 42 },
      xaxis: axis(theme, "share of training tokens", { range: [0, chart.axis_max], tickformat: ".0%" }),
      yaxis: nameAxis(
        theme,
        chart.bars.map((bar) => bar.domain),
      ),
    },
  };
}

function numbers(chart) {
  const has = chart.recommendation_id !== null;
  const headings = has
    ? ["Domain", "#Prior", "#Recommended", "#Change", "#Epochs", "#At most"]
    : ["Domain", "#Prior", "#Epochs", "#At most"];
  const rows = chart.bars.map((bar) =>
    h(
      "tr",
      {},
      nameCell(bar.domain),
      h("td.number", {}, percent(bar.prior)),
      has && h("td.number", {}, h("strong", {}, percent(bar.weight))),
      has && h("td.number", {}, times(bar.change)),
      h("td.number", {}, epochs(has ? bar.epochs : bar.prior_epochs)),
      h(
        "td.number",
        {},
        bar.cap === null ? "no cap" : percent(bar.cap),
        bar.capped && [" ", h("span.tag.warn", { title: "the cap holds this weight" }, "cap")],
      ),
    ),
  );
  return [table(headings, rows, "Weights, epochs and caps of each domain"), h("p.about", {}, epochCaps(chart))];
}

/** @returns {string} how often domains may be seen, in words */
function epochCaps({ max_epochs: most, max_epochs_each: each, target_tokens: tokens }) {
  const caps = Object.entries(each).map(([domain, passes]) => `${decimal(passes, 1)} epochs of ${domain}`);
  if (most !== null) caps.push(`${decimal(most, 1)} epochs of ${caps.length > 0 ? "each other" : "each"} domain`);
  if (caps.length === 0) return "No epoch cap is set.";
  return `Cap: ${caps.join(", ")} in ${count(tokens)} training tokens.`;
}

function predictions(recommendation, study) {
  const own = recommendation.predictions.recommended?.targets ?? {};
  const targets = study.targets.filter((target) => target.name in own);
  const rows = Object.entries(recommendation.predictions).map(([name, predicted]) =>
    h(
      "tr",
      {},
      nameCell(words(name)),
      h("td.number", {}, interval(predicted.objective)),
      targets.map((target) => h("td.number", {}, decimal(predicted.targets[target.name]?.mean))),
    ),
  );
  if (rows.length === 0) return null;
  const { unit, words: made } = describeObjective(study.targets, recommendation);
  return h(
    "details",
    { open: targets.length <= 12 },
    h("summary", {}, "Predicted losses of each mixture, the objective with its 90 % interval"),
    table(
      [
        "Mixture",
        unitHeading("Objective", unit),
        ...targets.map((target) => unitHeading(target.name, measureWords(target))),
      ],
      rows,
      "Predicted losses of each mixture",
    ),
    h("p.about", {}, made),
  );
}
