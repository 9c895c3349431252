// What if: weights by sliders, and what the law predicts for them at once.

import { postJson } from "./api.js";
import { h, nameCell, show, table } from "./dom.js";
import { decimal, epochs, interval, percent, signed, words } from "./format.js";
import { empty, failure } from "./notices.js";
import { describeObjective, measureWords } from "./objective.js";
import { select, selected } from "./query.js";
import { canMove, fromText, moved, normalised, toText } from "./simplex.js";

const WAIT_MILLISECONDS = 250;
const STEP = 0.001;

/** @param {HTMLElement} body */
export function create(body) {
  return {
    /** @param {import("./api_types.js").Context} context */
    async update({ study, fit, recommendation }) {
      if (fit?.state !== "succeeded") {
        show(body, "none", () => empty("No law to ask yet", "Move the weights here once a law is fitted."));
        return;
      }
      const law = selected("law") || fit.chosen_law;
      const starts = startsOf(study, recommendation);
      show(body, [fit.id, law, study.domain_set, study.constraints, starts], () => panel(study, fit.id, law, starts));
    },
  };
}

/** @returns {Record<string, number[]>} mixtures to begin from, in the order of the domains */
function startsOf(study, recommendation) {
  const names = study.domain_set.domains.map((domain) => domain.name);
  const prior = normalised(study.domain_set.domains.map((domain) => domain.prior ?? 0));
  const uniform = names.map(() => 1 / names.length);
  const weights = new Map((recommendation?.weights ?? []).map((row) => [row.domain, row.weight]));
  const known = weights.size > 0 && [...weights.keys()].every((name) => names.includes(name));
  const recommended = known ? normalised(names.map((name) => weights.get(name) ?? 0)) : null;
  return { ...(recommended && { recommended }), prior: prior ?? uniform, uniform };
}

function panel(study, fitId, law, starts) {
  const { domains, version } = study.domain_set;
  const text = selected("whatif");
  const read = text ? fromText(text, version, domains.length) : null;
  const state = read ?? { weights: [...Object.values(starts)[0]], locked: domains.map(() => false) };
  const result = h("div.prediction", { "aria-live": "polite" }, h("p.loading", {}, "Asking the law …"));
  const ask = asking(study, fitId, law, starts, state, result);
  const rows = domains.map((domain, i) => sliderRow(domain, i, study, state, change));

  function change(kept = true) {
    for (const row of rows) row.update();
    if (kept) select({ whatif: toText(version, state.weights, state.locked) });
    ask();
  }
  change(false);
  const start = (name) => () => {
    state.weights = [...starts[name]];
    state.locked.fill(false);
    change();
  };
  return [
    text && !read && h("p.notice.warn", {}, "The weights of this link are about other domains; here is the start."),
    h(
      "div.what-if",
      {},
      h(
        "div",
        {},
        h(
          "div.buttons",
          { role: "group", "aria-label": "Start from" },
          h("span.about", {}, "Start from"),
          Object.keys(starts).map((name) =>
            h("button", { type: "button", "data-focus": `start ${name}`, onclick: start(name) }, name),
          ),
        ),
        h(
          "div.sliders",
          { role: "group", "aria-label": "Weights of the domains" },
          rows.map((row) => row.element),
        ),
      ),
      result,
    ),
  ];
}

function sliderRow(domain, i, study, state, change) {
  const value = h("output.number");
  const passes = h("span.about");
  /** @type {HTMLInputElement} */
  const slider = /** @type {any} */ (
    h("input", {
      type: "range",
      min: 0,
      max: 1,
      step: STEP,
      "aria-label": `Weight of ${domain.name}`,
      "data-focus": `weight ${domain.name}`,
      oninput: () => {
        state.weights = moved(state.weights, state.locked, i, Number(slider.value));
        change();
      },
    })
  );
  const lock = h(
    "button.lock",
    {
      type: "button",
      "aria-label": `Keep the weight of ${domain.name}`,
      "data-focus": `lock ${domain.name}`,
      onclick: () => {
        state.locked[i] = !state.locked[i];
        change();
      },
    },
    "lock",
  );
  const update = () => {
    const weight = state.weights[i];
    if (Math.abs(Number(slider.value) - weight) >= STEP / 2) slider.value = String(weight);
    slider.disabled = !canMove(state.locked, i);
    slider.setAttribute("aria-valuetext", percent(weight));
    lock.setAttribute("aria-pressed", String(state.locked[i]));
    lock.textContent = state.locked[i] ? "locked" : "lock";
    value.textContent = percent(weight);
    passes.replaceChildren(...seen(domain, weight, study.constraints));
  };
  const name = h("bdi.name", { title: domain.name }, domain.name);
  return { element: h("div.slider", {}, name, slider, value, passes, lock), update };
}

/** @returns {(Node|string)[]} the epochs that a weight implies, and whether they are too many */
function seen(domain, weight, { target_tokens: tokens, max_epochs: most, max_epochs_each: each }) {
  if (!tokens || !domain.available_tokens) return [];
  const passes = (weight * tokens) / domain.available_tokens;
  const cap = Object.hasOwn(each, domain.name) ? each[domain.name] : most;
  const over = cap !== null && passes > cap * (1 + 1e-9);
  return [`${epochs(passes)} ep.`, ...(over ? [" ", h("span.tag.warn", {}, "over the cap")] : [])];
}

/** @returns {() => void} asks the law once the hand rests; only the newest answer is shown */
function asking(study, fitId, law, starts, state, result) {
  let waiting = 0;
  let newest = 0;
  return () => {
    clearTimeout(waiting);
    newest += 1;
    const mine = newest;
    waiting = setTimeout(async () => {
      const mixtures = [state.weights, ...Object.values(starts)].map((weights) => named(study, weights));
      let shown;
      try {
        const read = await postJson(`/fits/${fitId}/predictions`, { weights: mixtures, law });
        shown = answer(read, Object.keys(starts), study.targets);
      } catch (error) {
        shown = [failure(error)];
      }
      if (mine === newest) result.replaceChildren(...shown);
    }, WAIT_MILLISECONDS);
  };
}

const named = (study, weights) =>
  Object.fromEntries(study.domain_set.domains.map((domain, i) => [domain.name, weights[i]]));

/** @returns {HTMLElement[]} */
function answer(read, starts, targets) {
  const [mine, ...others] = read.predictions;
  const { unit, words: made } = describeObjective(targets);
  const row = (name, measure, of) =>
    h(
      "tr",
      {},
      nameCell(name, h("bdi", {}, name), measure && [" ", h("span.unit", {}, measure)]),
      h("td.number", {}, h("strong", {}, interval(of(mine)))),
      others.map((other) =>
        h("td.number", {}, decimal(of(other).mean), h("div.about", {}, signed(of(mine).mean - of(other).mean))),
      ),
    );
  const rows = [
    row("objective", unit, (prediction) => prediction.objective),
    ...targets
      .filter((target) => mine.targets[target.name])
      .map((target) => row(target.name, measureWords(target), (prediction) => prediction.targets[target.name])),
  ];
  return [
    table(
      ["Predicted", "#These weights [90 %]", ...starts.map((name) => `#${words(name)}`)],
      rows,
      "Predicted targets of these weights beside other mixtures",
    ),
    h(
      "p.about",
      {},
      `Under the law ${read.law}. The small numbers are differences: below 0, these weights have the lower value. `,
      `${made} `,
      `The nearest measured mixture is ${decimal(mine.distance, 2)} away (sum of absolute differences, 0 to 2).`,
    ),
    mine.far && h("p.notice.warn", {}, "Nothing like these weights was measured: take the numbers with care."),
    mine.unseen_domains.length > 0 &&
      h("p.notice.warn", {}, "No run contained ", mine.unseen_domains.map((name) => `“${name}”`).join(", "), "."),
    ...read.warnings.map((warning) => h("p.notice.warn", {}, warning)),
  ].filter((part) => part instanceof HTMLElement);
}
