// Why these weights: what they gain over each baseline, what holds them, and what to be careful about.

import { h, nameCell, show, table, unitHeading } from "./dom.js";
import { decimal, percent, signed, words } from "./format.js";
import { empty } from "./notices.js";
import { describeObjective, unitWords } from "./objective.js";

/** @param {HTMLElement} body */
export function create(body) {
  return {
    /** @param {import("./api_types.js").Context} context */
    async update({ recommendation, study }) {
      const details = recommendation?.details;
      if (!details) {
        show(body, "none", () =>
          empty("Nothing to explain yet", "Gains and limits appear here once weights are recommended."),
        );
        return;
      }
      show(body, [recommendation.id, study.targets], () => [
        offered(details),
        details.warnings.map((warning) => h("p.notice.warn", {}, warning)),
        details.unseen_domains.length > 0 &&
          h("p.notice.warn", {}, `No run contained ${list(details.unseen_domains)}: its weight is a guess of the law.`),
        gains(details, study.targets, describeObjective(study.targets, recommendation)),
        h("h3", {}, "What holds the weights"),
        prices(details),
        ranges(recommendation),
        origin(recommendation),
      ]);
    },
  };
}

/** @param {string[]} names @returns {string} */
const list = (names) => names.map((name) => `“${name}”`).join(", ");

function offered({ offered: { mixture, within_noise, runs, weights } }) {
  if (within_noise === null) {
    return h("p.about", {}, "The noise between repeats of one mixture is not known: no mixture was trained twice.");
  }
  if (!within_noise)
    return h("p", {}, h("span.tag.good", {}, "✓ beyond the noise"), " The gain is larger than the noise.");
  const parts = Object.entries(weights).filter(([, weight]) => weight > 0);
  return h(
    "div.notice.warn",
    {},
    h(
      "p",
      {},
      h("strong", {}, "Within the noise. "),
      `The gain over the best measured mixture is smaller than what two trainings of one mixture differ by. `,
      `The mixture to act on is the ${words(mixture)} one`,
      runs.length > 0 && `, as trained by ${runs.length === 1 ? "run" : "runs"} `,
      runs.slice(0, 5).map((id, i) => [i > 0 && ", ", h("a", { href: `?run=${id}#trajectory` }, id.slice(-8))]),
      ":",
    ),
    h(
      "p",
      {},
      parts.map(([name, weight], i) => [i > 0 && " · ", h("bdi", {}, name), ` ${percent(weight)}`]),
    ),
  );
}

function gains({ gains: all, outside }, known, { unit, words: made }) {
  const one = Object.values(all)[0]?.targets ?? {};
  const targets = known.filter((target) => target.name in one);
  const rows = Object.entries(all).map(([baseline, gain]) =>
    h(
      "tr",
      {},
      nameCell(words(baseline), words(baseline), outside.includes(baseline) && [" ", outsideTag()]),
      h("td.number", {}, h("strong", {}, gained(gain.objective))),
      targets.map((target) => h("td.number", {}, gained(gain.targets[target.name]))),
    ),
  );
  return [
    table(
      [
        "Over",
        unitHeading("Objective [90 %]", unit),
        ...targets.map((target) => unitHeading(`${target.name} [90 %]`, unitWords(target.unit))),
      ],
      rows,
      "Predicted gain over each baseline, with 90 % intervals",
    ),
    h("p.about", {}, "Predicted gain; above 0 the recommended mixture is better. ", made),
  ];
}

const outsideTag = () => h("span.tag.warn", { title: "the constraints do not allow this mixture" }, "not allowed");

/** @param {import("./api_types.js").Interval|undefined} gain @returns {string} */
export function gained(gain) {
  return gain ? `${signed(gain.mean)} [${signed(gain.low)}, ${signed(gain.high)}]` : "–";
}

function prices({ prices: active, unconstrained, constraints }) {
  return [
    active.length > 0
      ? h(
          "ul",
          {},
          active.map((price) => h("li", {}, price.words)),
        )
      : h(
          "p",
          {},
          constraints.length > 0
            ? "No constraint holds a weight: relaxing one would gain nothing."
            : "The study has no constraint that could hold a weight.",
        ),
    unconstrained &&
      active.length > 0 &&
      h("p.about", {}, `Without any constraint the objective would be ${decimal(unconstrained.objective.mean)}.`),
  ];
}

/** How far each weight can move, which says how exactly it must be kept. */
function ranges({ weights, details: { sensitivity } }) {
  if (!sensitivity) return null;
  const rows = weights.map((row) =>
    h(
      "tr",
      {},
      nameCell(row.domain),
      h("td.number", {}, percent(row.weight)),
      h("td.number", {}, percent(row.low)),
      h("td.number", {}, percent(row.high)),
      h("td", {}, row.held_by ? words(row.held_by) : ""),
    ),
  );
  return h(
    "details",
    { open: rows.length <= 12 },
    h("summary", {}, "How exactly each weight must be kept"),
    table(["Domain", "#Recommended", "#From", "#To", "Held by"], rows, "How far each weight can move"),
    h("p.about", {}, `Inside this range the objective stays within ${decimal(sensitivity.margin)} of the best.`),
  );
}

function origin({ provenance }) {
  if (!provenance) return null;
  return h(
    "p.about",
    {},
    `From ${provenance.runs} runs (sha256 ${provenance.runs_hash.slice(0, 12)}…) on version `,
    `${provenance.domain_set_version} of the domains, seed ${provenance.seed}, mixwright ${provenance.mixwright_version}.`,
  );
}
