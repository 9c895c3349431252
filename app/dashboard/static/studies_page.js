// The list of studies, newest first.

import { getJson } from "./api.js";
import { h, labelled, nameCell, show, table } from "./dom.js";
import { exact, time } from "./format.js";
import { keepFresh } from "./keep_fresh.js";
import { curl, empty } from "./notices.js";
import { select, selected } from "./query.js";
import { isBusy, stateTag } from "./run_state.js";

const ROWS = 50;
const place = document.getElementById("studies");
const search = document.getElementById("search");

let reload = () => {};

async function round() {
  const cursor = selected("cursor");
  const name = selected("name");
  showSearch(name);
  const page = await getJson("/studies", { limit: ROWS, cursor, name });
  const none = page.items.length === 0 && !cursor;
  show(place, [page, cursor, name], () => {
    if (none && name) return h("p.about", {}, `No study has “${name}” in its name.`);
    return none ? first() : content(page, cursor);
  });
  return page.items.some((study) => isBusy(study.run_counts));
}

function showSearch(name) {
  let waiting = 0;
  const typed = (event) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      select({ name: event.target.value.trim(), cursor: null });
      reload();
    }, 300);
  };
  show(search, "once", () =>
    labelled("Search", h("input", { type: "search", value: name, placeholder: "part of a name", oninput: typed })),
  );
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
      h("a", { href: `/studies/${study.id}` }, h("bdi", {}, study.name)),
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

reload = keepFresh(round, place);
