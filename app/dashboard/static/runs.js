// The table of runs: counted by state, filtered, paged by the API.

import { getJson } from "./api.js";
import { choice, h, labelled, nameCell, show, table } from "./dom.js";
import { count, decimal, duration, shortId } from "./format.js";
import { curl, empty } from "./notices.js";
import { objectiveOf } from "./objective.js";
import { select, selected } from "./query.js";
import { STATES, stateTag } from "./run_state.js";

const ROWS = 15;
const SEARCHED_ROWS = 1000; // the largest page of the API

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
      const [state, purpose, search, cursor] = ["state", "purpose", "search", "cursor"].map(selected);
      showFilters(controls, study, { state, purpose, search }, purposes, filter);
      const total = Object.values(study.run_counts).reduce((a, b) => a + b, 0);
      if (total === 0) {
        show(body, "none", () => next(study));
        return;
      }
      const query = search ? { state, purpose, limit: SEARCHED_ROWS } : { state, purpose, limit: ROWS, cursor };
      const page = await getJson(`/studies/${study.id}/runs`, query);
      for (const run of page.items) purposes.add(run.purpose);
      const rows = search ? page.items.filter((run) => matches(run, search)) : page.items;
      const move = (to, stack) => {
        before = stack;
        select({ cursor: to });
        changed();
      };
      show(body, [rows, page.next_cursor, cursor, search, selected("run"), before], () => [
        rows.length === 0 ? h("p.about", {}, "No run fits this filter.") : content(rows, study, changed),
        search
          ? h(
              "p.about",
              {},
              `${rows.length} of ${page.items.length} runs contain “${search}”.`,
              page.next_cursor &&
                ` Only the first ${SEARCHED_ROWS} were searched; filter by state or purpose to reach the others.`,
            )
          : pager(page.next_cursor, cursor, before, move),
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

/** @param {import("./api_types.js").Run} run @param {string} search */
function matches(run, search) {
  const wanted = search.toLowerCase();
  return [run.label, run.id, run.purpose, run.error ?? "", `seed ${run.seed}`].some((text) =>
    text.toLowerCase().includes(wanted),
  );
}

function showFilters(controls, study, now, purposes, filter) {
  const total = Object.values(study.run_counts).reduce((a, b) => a + b, 0);
  if (total === 0) {
    show(controls, null, () => null);
    return;
  }
  const known = [...purposes, ...(now.purpose && !purposes.has(now.purpose) ? [now.purpose] : [])];
  const button = (state, text) =>
    h(
      "button.filter",
      {
        type: "button",
        "aria-pressed": now.state === state ? "true" : "false",
        "data-focus": `state ${state}`,
        onclick: () => filter({ state }),
      },
      text,
    );
  show(controls, [study.run_counts, now.state, now.purpose, known], () => [
    h(
      "div.filters",
      { role: "group", "aria-label": "State" },
      button("", `all ${total}`),
      Object.entries(STATES)
        .filter(([state]) => study.run_counts[state] > 0 || state === now.state)
        .map(([state, { sign }]) => button(state, `${sign} ${state} ${study.run_counts[state] ?? 0}`)),
    ),
    choice(
      "Purpose",
      [{ value: "", text: "all" }, ...known.map((value) => ({ value, text: value }))],
      now.purpose,
      (value) => filter({ purpose: value }),
    ),
    searchBox(now.search, filter),
  ]);
}

function searchBox(value, filter) {
  let waiting = 0;
  const typed = (event) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => filter({ search: event.target.value.trim() }), 300);
  };
  return labelled(
    "Search",
    h("input", { type: "search", value, placeholder: "label, id, error", "data-focus": "search", oninput: typed }),
  );
}

function content(rows, study, changed) {
  return table(
    ["Run", "Purpose", "State", "#Seed", "#Parameters", "#Tokens", "#Objective", "#Time", "Note"],
    rows.map((run) => row(run, study, changed)),
    "Runs of the study",
  );
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
