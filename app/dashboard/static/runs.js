// The table of runs: counted by state, filtered and paged by the API.

import { getJson } from "./api.js";
import { budgetBars } from "./budget.js";
import { h, nameCell, show, table, unitHeading } from "./dom.js";
import { count, decimal, duration, exact, shortId } from "./format.js";
import { curl, empty } from "./notices.js";
import { describeObjective, objectiveOf } from "./objective.js";
import { select, selected } from "./query.js";
import { runActions } from "./run_actions.js";
import { filterNow, queryOf, showFilters } from "./run_filters.js";
import { stateTag } from "./run_state.js";

const ROWS = 15;

/**
 * @param {HTMLElement} body
 * @param {HTMLElement} controls
 * @param {() => void} changed
 */
export function create(body, controls, changed) {
  /** Cursors of the pages before this one; the API only knows the way forward. @type {string[]} */
  let before = [];
  const purposes = new Set(["swarm", "verification"]);

  function filter(changes) {
    before = [];
    select({ cursor: null, ...changes });
    changed();
  }

  return {
    /** @param {import("./api_types.js").Context} context */
    async update({ study }) {
      const now = filterNow();
      const cursor = selected("cursor");
      showFilters(controls, study, now, purposes, filter, changed);
      const total = Object.values(study.run_counts).reduce((a, b) => a + b, 0);
      if (total === 0) {
        show(body, ["none", study.budget], () => [budgetBars(study.budget), next(study)]);
        return;
      }
      const page = await getJson(`/studies/${study.id}/runs`, { ...queryOf(now), limit: ROWS, cursor });
      for (const run of page.items) purposes.add(run.purpose);
      const move = (to, stack) => {
        before = stack;
        select({ cursor: to });
        changed();
      };
      const { targets, budget, runs_without_agent: waiting } = study;
      show(body, [page, cursor, selected("run"), before, targets, budget, waiting], () => [
        budgetBars(budget),
        waiting.map(withoutAgent),
        page.items.length === 0 ? h("p.about", {}, "No run fits this filter.") : content(page.items, study, changed),
        pager(page.next_cursor, cursor, before, move),
      ]);
    },
  };
}

function next(study) {
  const weights = Object.fromEntries(study.domain_set.domains.map((domain) => [domain.name, domain.prior]));
  const body = { runs: [{ weights, settings: { corpus_hash: "CORPUS_HASH", train_tokens: 65536 } }] };
  return [
    empty(
      "No runs yet",
      "Ask for a swarm of mixtures that cover the simplex:",
      curl(`/studies/${study.id}/suggestions`, { count: 32 }),
    ),
    h("p", {}, "Then queue each as a run, with the settings that all of them share:"),
    empty("", "", curl(`/studies/${study.id}/runs`, body)),
    h("p", {}, "and start an agent that trains them:"),
    empty("", "", `mixwright agent --server ${location.origin} --corpus CORPUS_DIR`),
  ];
}

function withoutAgent({ corpus_hash: corpus, runs }) {
  return h(
    "p.notice.warn",
    {},
    `${exact(runs)} queued ${runs === 1 ? "run waits" : "runs wait"} for an agent with the corpus `,
    h("bdi", {}, corpus),
    ": none that is alive and takes new runs of this study has it.",
  );
}

function content(rows, study, changed) {
  const { unit, words } = describeObjective(study.targets);
  const objective = unitHeading("Objective", unit);
  return [
    table(
      ["Run", "Purpose", "State", "#Seed", "#Parameters", "#Tokens", objective, "#Time", "Note", "Actions"],
      rows.map((run) => row(run, study, changed)),
      "Runs of the study",
    ),
    h("p.about", {}, words),
  ];
}

function row(run, study, changed) {
  const chosen = selected("run") === run.id;
  const pick = () => {
    select({ run: run.id });
    changed();
    document.getElementById("trajectory")?.scrollIntoView({ block: "nearest" });
  };
  return h(
    `tr${chosen ? ".chosen" : ""}`,
    {},
    nameCell(
      run.label,
      h(
        "button.link",
        {
          type: "button",
          "data-focus": run.id,
          title: `Show the losses of run ${run.id}`,
          "aria-pressed": chosen ? "true" : "false",
          onclick: pick,
        },
        run.label || shortId(run.id),
      ),
    ),
    h("td", {}, run.purpose),
    h("td", {}, stateTag(run.state)),
    h("td.number", {}, run.seed),
    h("td.number", {}, count(run.model_params)),
    h("td.number", {}, tokens(run)),
    h("td.number", {}, decimal(objectiveOf(run, study.targets))),
    h("td.number", {}, duration(run.wall_seconds)),
    h("td.note", {}, note(run)),
    h("td", {}, runActions(run, changed, "row")),
  );
}

function tokens(run) {
  if (run.state !== "leased" || !run.train_tokens) return count(run.train_tokens);
  const label = `${count(run.progress_tokens)} of ${count(run.train_tokens)} tokens`;
  return h("progress", { max: run.train_tokens, value: run.progress_tokens, "aria-label": label, title: label });
}

function note(run) {
  const parts = [];
  if (run.source !== "proxy") parts.push(run.source);
  if (run.fidelity !== "trained") parts.push(`${run.fidelity}, not trained`);
  if (run.stages) parts.push(`${run.stages.length} stages`);
  if (run.exclude_from_fit) parts.push("not used in fits");
  if (run.attempt > 1) parts.push(`attempt ${run.attempt} of ${run.max_attempts}`);
  if (run.error) parts.push(run.error);
  return parts.join("; ");
}

function pager(nextCursor, cursor, before, move) {
  if (!nextCursor && !cursor) return null;
  const button = (text, enabled, go) =>
    h("button", { type: "button", "data-focus": text, disabled: !enabled, onclick: go }, text);
  return h(
    "div.pager",
    {},
    button("First", Boolean(cursor), () => move(null, [])),
    button("Previous", before.length > 0, () => move(before.at(-1) || null, before.slice(0, -1))),
    button("Next", Boolean(nextCursor), () => move(nextCursor, [...before, cursor])),
  );
}
