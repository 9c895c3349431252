// The schedules of a study: when each fires next, what it did, and how to pause it or fire it now.

import { action } from "./actions.js";
import { getJson, patchJson, postJson } from "./api.js";
import { crumbs } from "./crumbs.js";
import { h, nameCell, show, table } from "./dom.js";
import { shortId, time, words } from "./format.js";
import { keepFresh } from "./keep_fresh.js";
import { curl, empty } from "./notices.js";
import { createPager } from "./pager.js";
import { select, selected } from "./query.js";

const ROWS = 20;
const STATES = {
  queued: ["plain", "○"],
  running: ["busy", "◐"],
  succeeded: ["good", "✓"],
  failed: ["bad", "✕"],
  cancelled: ["plain", "–"],
};
const CAUSES = {
  due: "its time came",
  missed: "made up for",
  skipped: "missed, and not made up for",
  manual: "asked for",
};

const root = document.getElementById("page");
const id = encodeURIComponent(root.dataset.study);
/** @type {HTMLElement} */
const listed = root.querySelector("#schedules .body");
/** @type {HTMLElement} */
const fired = root.querySelector("#firings .body");
/** @type {HTMLElement} */
const title = root.querySelector("#firings .controls");
const pager = createPager(() => reload());
let reload = () => {};

async function round() {
  const [study, schedules] = await Promise.all([
    getJson(`/studies/${id}`),
    getJson(`/studies/${id}/schedules`, { limit: 1000 }),
  ]);
  document.title = `Schedules of ${study.name} · Mixwright`;
  show(document.getElementById("head"), study.name, () => crumbs(study, "/schedules"));
  const chosen = schedules.items.find((each) => each.id === selected("schedule")) ?? schedules.items[0] ?? null;
  show(listed, [schedules, chosen?.id], () => (chosen === null ? first(study) : list(schedules.items, chosen)));
  return showFirings(chosen);
}

/** @returns {Promise<boolean>} whether one of them still works */
async function showFirings(schedule) {
  if (schedule === null) {
    show(title, null, () => null);
    show(fired, "none", () => h("p.about", {}, "Nothing fired yet."));
    return false;
  }
  show(title, schedule.name, () => h("strong", {}, h("bdi", {}, schedule.name)));
  const page = await getJson(`/schedules/${schedule.id}/firings`, { limit: ROWS, cursor: selected("cursor") });
  show(fired, [page, pager.key()], () => [
    page.items.length === 0 ? h("p.about", {}, "It did not fire yet.") : history(page.items),
    pager.buttons(page.next_cursor),
  ]);
  return page.items.some((firing) => firing.state === "queued" || firing.state === "running");
}

function first(study) {
  const body = { name: "refit every night", kind: "refit", cron: "30 2 * * *", time_zone: zone() };
  return empty("No schedule yet", "Refit the laws every night, for one:", curl(`/studies/${study.id}/schedules`, body));
}

const zone = () => Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

function list(schedules, chosen) {
  const rows = schedules.map((schedule) => {
    const pick = () => {
      pager.reset();
      select({ schedule: schedule.id });
      reload();
    };
    const common = { done: reload, of: schedule.name };
    const path = `/schedules/${schedule.id}`;
    return h(
      `tr${schedule.id === chosen.id ? ".chosen" : ""}`,
      {},
      nameCell(
        schedule.name,
        h(
          "button.link",
          {
            type: "button",
            "data-focus": schedule.id,
            "aria-pressed": String(schedule.id === chosen.id),
            onclick: pick,
          },
          h("bdi", {}, schedule.name),
        ),
      ),
      h("td", { title: JSON.stringify(schedule.settings) }, schedule.kind),
      h("td", {}, h("code", {}, schedule.cron), h("div.about", {}, schedule.time_zone)),
      h("td", {}, schedule.enabled ? h("span.tag.good", {}, "✓ on") : h("span.tag.warn", {}, "‖ paused")),
      h("td", {}, next(schedule)),
      h("td", { title: "what becomes of times that passed while no worker looked" }, schedule.missed),
      h(
        "td",
        {},
        h(
          "div.buttons.small",
          {},
          action(schedule.enabled ? "Pause" : "Resume", {
            ...common,
            run: () => patchJson(path, { enabled: !schedule.enabled }),
            key: `pause ${schedule.id}`,
          }),
          action("Fire now", { ...common, run: () => postJson(`${path}/fire`), key: `fire ${schedule.id}` }),
        ),
      ),
    );
  });
  return table(
    ["Schedule", "Kind", "When", "State", "Next firings", "Missed", "Actions"],
    rows,
    "Schedules of the study",
  );
}

function next(schedule) {
  if (schedule.next_firings.length === 0) return "–";
  const [first, ...more] = schedule.next_firings;
  const at = (firing) => h("span", { title: `${firing.local} in ${schedule.time_zone}` }, time(firing.at));
  return [
    h("span.time", {}, at(first)),
    more.length > 0 &&
      h(
        "details",
        {},
        h("summary", {}, `and ${more.length} more`),
        more.map((firing) => h("div.about", {}, at(firing))),
      ),
  ];
}

function history(firings) {
  const rows = firings.map((firing) =>
    h(
      "tr",
      {},
      h("td.time", {}, time(firing.due_at)),
      h("td", {}, CAUSES[firing.cause] ?? firing.cause),
      h("td", {}, stateTag(firing.state)),
      h("td.time", {}, time(firing.finished_at)),
      h("td.note", {}, h("bdi", {}, firing.error ?? firing.message), outcome(firing.outcome)),
    ),
  );
  return table(["Due", "Why", "State", "Ended", "What came of it"], rows, "Firings, newest first");
}

function stateTag(state) {
  if (state === null) return h("span.tag.plain", {}, "– skipped");
  const [kind, sign] = STATES[state] ?? ["plain", "?"];
  return h(`span.tag.${kind}`, {}, `${sign} ${state}`);
}

/** @param {Record<string, any>} made @returns {HTMLElement[]} */
function outcome(made) {
  return Object.entries(made).map(([name, value]) => {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    const page = { fit_id: "fit", recommendation_id: "recommendation" }[name];
    return h(
      "div",
      {},
      `${words(name)}: `,
      page ? h("a", { href: `/studies/${id}?${page}=${encodeURIComponent(text)}` }, shortId(text)) : text,
    );
  });
}

reload = keepFresh(round, root);
