// The audit list of the service or of one study, and its live tail.

import { getJson } from "./api.js";
import { crumbs } from "./crumbs.js";
import { choice, h, labelled, show, table } from "./dom.js";
import { tail } from "./event_tail.js";
import { shortId, time } from "./format.js";
import { keepFresh } from "./keep_fresh.js";
import { createPager } from "./pager.js";
import { select, selected } from "./query.js";

const ROWS = 50;
const MOST_ROWS = 500; // of a tail that runs for days
const WAIT_SECONDS = 5;
const KINDS = [
  "run.",
  "fit.",
  "recommendation.",
  "study.",
  "target.",
  "domain_set.",
  "binding.",
  "import.",
  "schedule.",
  "agent.",
  "key.",
  "login.",
];

const root = document.getElementById("page");
const study = root.dataset.study;
const base = study ? `/studies/${encodeURIComponent(study)}/events` : "/events";
/** @type {HTMLElement} */
const body = root.querySelector("#events .body");
/** @type {HTMLElement} */
const controls = root.querySelector("#events .controls");
const pager = createPager(() => reload());

/** Events that came while the page is open, newest first. @type {any[]} */
let arrived = [];
/** @type {AbortController|null} */
let following = null;
let reload = () => {};

async function round() {
  const kind = selected("kind");
  const subject = selected("subject");
  if (study) {
    const read = await getJson(`/studies/${encodeURIComponent(study)}`);
    show(document.getElementById("head"), read.name, () => crumbs(read, "/events"));
  }
  showControls(kind, subject);
  const page = await getJson(base, { kind, subject_id: subject, limit: ROWS, cursor: selected("cursor") });
  follow(kind, page.items[0]?.key ?? "");
  draw(page);
  return following !== null;
}

/** @param {{items: any[], next_cursor: string|null}} page */
function draw(page) {
  const known = new Set(page.items.map((event) => event.key));
  const first = !selected("cursor") && !selected("subject");
  const events = [...(first ? arrived.filter((event) => !known.has(event.key)) : []), ...page.items];
  show(body, [events, pager.key(), page.next_cursor], () => [
    events.length === 0 ? h("p.about", {}, "Nothing happened yet.") : list(events),
    pager.buttons(page.next_cursor),
  ]);
}

function showControls(kind, subject) {
  const kinds = KINDS.includes(kind) || !kind ? KINDS : [...KINDS, kind];
  const options = [
    { value: "", text: "all" },
    ...kinds.map((each) => ({ value: each, text: each.replace(/\.$/, "") })),
  ];
  const filter = (changes) => {
    pager.reset();
    select(changes);
    arrived = [];
    following?.abort();
    following = null;
    reload();
  };
  show(controls, [kind, subject], () => [
    choice("Kind", options, kind, (value) => filter({ kind: value })),
    subject && h("button", { type: "button", onclick: () => filter({ subject: null }) }, `Only ${shortId(subject)} ✕`),
    labelled(
      "Live",
      h("input", {
        type: "checkbox",
        checked: selected("live") !== "off",
        onchange: (event) => filter({ live: event.target.checked ? null : "off" }),
      }),
    ),
  ]);
}

/** Starts a tail where the list ends; when it breaks, the list is loaded again and a new one starts. */
function follow(kind, last) {
  if (following || selected("live") === "off" || selected("cursor")) return;
  const mine = new AbortController();
  following = mine;
  const query = kind ? `?kind=${encodeURIComponent(kind)}` : "";
  const onEvent = (event) => {
    arrived = [event, ...arrived].slice(0, MOST_ROWS);
    reload();
  };
  tail(`${base}/stream${query}`, last, onEvent, mine.signal)
    .catch(() => {})
    .then(() => new Promise((resolve) => setTimeout(resolve, 1000 * WAIT_SECONDS)))
    .then(() => {
      if (following === mine) following = null;
    });
}

function list(events) {
  const rows = events.map((event) =>
    h(
      "tr",
      {},
      h("td.time", { title: event.at }, time(event.at)),
      h("th.name", { scope: "row" }, event.kind),
      h("td", {}, h("bdi", {}, event.actor)),
      !study && h("td", {}, event.study_id && h("a", { href: `/studies/${event.study_id}` }, shortId(event.study_id))),
      h(
        "td",
        {},
        event.subject_id &&
          h(
            "button.link",
            { type: "button", title: `All events of ${event.subject_id}`, onclick: () => onlyOf(event.subject_id) },
            shortId(event.subject_id),
          ),
      ),
      h("td.note", {}, h("bdi", {}, facts(event.data))),
    ),
  );
  const headings = ["When", "What", "Who", ...(study ? [] : ["Study"]), "Subject", "Details"];
  return table(headings, rows, "Events, newest first");
}

function onlyOf(subject) {
  pager.reset();
  select({ subject });
  reload();
}

/** @param {Record<string, any>} data @returns {string} */
function facts(data) {
  const text = Object.entries(data)
    .map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join("; ");
  return text.length > 300 ? `${text.slice(0, 299)}…` : text;
}

reload = keepFresh(round, root);
addEventListener("pagehide", () => following?.abort());
