// The list of studies, newest first.

import { ApiError, getJson, logIn } from "./api.js";
import { h, nameCell, show, table } from "./dom.js";
import { exact, time } from "./format.js";
import { fresh, stale } from "./live.js";
import { curl, empty, failure } from "./notices.js";
import { poll } from "./poll.js";
import { select, selected } from "./query.js";
import { isBusy, stateTag } from "./run_state.js";

const ROWS = 50;
const place = document.getElementById("studies");
const problem = document.getElementById("problem");

let reload = () => {};

async function round() {
  const cursor = selected("cursor");
  let page;
  try {
    page = await getJson("/studies", { limit: ROWS, cursor });
  } catch (error) {
    return refuse(error);
  }
  show(problem, "", () => null);
  show(place, [page, cursor], () => (page.items.length === 0 && !cursor ? first() : content(page, cursor)));
  const busy = page.items.some((study) => isBusy(study.run_counts));
  fresh(busy);
  return busy;
}

/** @param {Error} error @returns {boolean} whether to ask again soon */
function refuse(error) {
  if (error instanceof ApiError && error.status === 401) {
    logIn();
    return false;
  }
  const lost = error instanceof ApiError && error.status === 0;
  if (lost) stale();
  show(problem, error.message, () => failure(error));
  return lost;
}

function first() {
  const body = {
    name: "my first study",
    domains: [
      { name: "web", available_tokens: 8000000 },
      { name: "code", available_tokens: 2000000 },
    ],
    targets: [
      { name: "web", weight: 1 },
      { name: "code", weight: 2 },
    ],
  };
  return [
    empty(
      "No studies yet",
      "See the whole job on real text, from raw files to verified weights, in a few minutes:",
      "mixwright demo --keep",
    ),
    h("p", {}, "or make a study of your own domains:"),
    empty("", "", curl("/studies", body)),
  ];
}

function content(page, cursor) {
  const go = (to) => () => {
    select({ cursor: to });
    reload();
  };
  return [
    table(["Study", "#Domains", "#Targets", "Runs", "Created"], page.items.map(row), "Studies, newest first"),
    (page.next_cursor || cursor) &&
      h(
        "div.pager",
        {},
        h("button", { type: "button", "data-focus": "newest", disabled: !cursor, onclick: go(null) }, "Newest"),
        h(
          "button",
          { type: "button", "data-focus": "older", disabled: !page.next_cursor, onclick: go(page.next_cursor) },
          "Older",
        ),
      ),
  ];
}

/** @param {import("./api_types.js").Study} study */
function row(study) {
  const states = Object.entries(study.run_counts).filter(([, n]) => n > 0);
  return h(
    "tr",
    {},
    nameCell(
      study.name,
      h("a", { href: `/studies/${study.id}` }, study.name),
      study.description && h("p.about.one-line", {}, study.description),
    ),
    h("td.number", {}, exact(study.domain_set.domains.length)),
    h("td.number", {}, exact(study.targets.length)),
    h(
      "td",
      {},
      states.length === 0
        ? h("span.about", {}, "none yet")
        : states.map(([state, n]) => [h("span.count", {}, stateTag(state), ` ${exact(n)}`), " "]),
    ),
    h("td.time", {}, time(study.created_at)),
  );
}

reload = poll(round);
