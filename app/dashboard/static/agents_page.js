// The agents: what each is doing, and whether it gets new runs.

import { action } from "./actions.js";
import { getJson, patchJson } from "./api.js";
import { h, nameCell, show, table } from "./dom.js";
import { shortId, time } from "./format.js";
import { keepFresh } from "./keep_fresh.js";
import { empty } from "./notices.js";
import { createPager } from "./pager.js";
import { selected } from "./query.js";

const ROWS = 50;
const STATES = {
  working: ["busy", "◐", "holds runs"],
  idle: ["good", "○", "asks for runs"],
  silent: ["plain", "◌", "holds none and has not been heard of for a minute"],
};
const card = document.getElementById("agents");
/** @type {HTMLElement} */
const body = card.querySelector(".body");
const pager = createPager(() => reload());
let reload = () => {};

async function round() {
  const page = await getJson("/agents", { limit: ROWS, cursor: selected("cursor") });
  show(body, [page, pager.key()], () =>
    page.items.length === 0 && !selected("cursor") ? first() : [list(page.items), pager.buttons(page.next_cursor)],
  );
  return page.items.some((agent) => agent.state === "working");
}

function first() {
  const command = `mixwright agent --server ${location.origin} --corpus CORPUS_DIR`;
  return empty("No agent was here yet", "Start one where the proxies are to be trained:", command);
}

function list(agents) {
  const rows = agents.map((agent) => {
    const [kind, sign, about] = STATES[agent.state] ?? ["plain", "?", ""];
    return h(
      "tr",
      {},
      nameCell(agent.name, h("bdi", {}, agent.name), h("div.about", { title: agent.id }, shortId(agent.id))),
      h(
        "td",
        {},
        h(`span.tag.${kind}`, { title: about }, `${sign} ${agent.state}`),
        agent.draining && [" ", h("span.tag.warn", {}, "drains")],
      ),
      h("td", {}, h("bdi", {}, agent.hostname)),
      h("td", {}, h("bdi", {}, agent.device)),
      h("td.number", { title: agent.corpus_hashes.join(", ") }, agent.corpus_hashes.length),
      h("td.number", {}, agent.run_ids.length),
      h("td.time", {}, time(agent.last_seen_at)),
      h(
        "td",
        {},
        action(agent.draining ? "Give runs" : "Drain", {
          run: () => patchJson(`/agents/${agent.id}`, { draining: !agent.draining }),
          done: reload,
          key: `drain ${agent.id}`,
          of: agent.name,
        }),
      ),
    );
  });
  return table(
    ["Agent", "State", "Host", "Device", "#Corpora", "#Runs held", "Last seen", "Actions"],
    rows,
    "Agents, newest first",
  );
}

reload = keepFresh(round, card);
