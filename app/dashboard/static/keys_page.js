// The keys of the service: made here, shown once, taken back here.

import { action, form } from "./actions.js";
import { getJson, postJson } from "./api.js";
import { h, labelled, nameCell, show, table } from "./dom.js";
import { shortId, time } from "./format.js";
import { keepFresh } from "./keep_fresh.js";
import { terminal } from "./notices.js";
import { createPager } from "./pager.js";
import { selected } from "./query.js";

const ROWS = 50;
const MOST_STUDIES = 1000; // the largest page of the API
const SCOPES = ["read", "write", "agent", "admin"];
const card = document.getElementById("keys");
const make = document.getElementById("make");
/** @type {HTMLElement} */
const body = card.querySelector(".body");
const pager = createPager(() => reload());
/** Studies by their ids. @type {Map<string, string>|undefined} */
let names;
let reload = () => {};

async function round() {
  const page = await getJson("/keys", { limit: ROWS, cursor: selected("cursor") });
  names ??= new Map((await getJson("/studies", { limit: MOST_STUDIES })).items.map((study) => [study.id, study.name]));
  show(make.querySelector(".body"), "once", () => maker(names)); // never again: it may show a new key
  show(body, [page, pager.key(), [...names]], () => [list(page.items, names), pager.buttons(page.next_cursor)]);
  return false;
}

/** @param {Map<string, string>} studies */
function maker(studies) {
  const name = field(h("input", { type: "text", required: true, maxlength: 200, "data-focus": "name" }));
  const study = field(
    h(
      "select",
      { "data-focus": "study" },
      h("option", { value: "" }, "all studies"),
      [...studies].map(([id, text]) => h("option", { value: id }, text)),
    ),
  );
  const expires = field(h("input", { type: "datetime-local", "data-focus": "expires" }));
  const scopes = SCOPES.map((scope) => ({
    scope,
    box: field(h("input", { type: "checkbox", checked: scope === "read" })),
  }));
  const result = h("div", { role: "status" });
  const run = async () => {
    result.replaceChildren();
    const made = await postJson("/keys", {
      name: name.value,
      scopes: scopes.filter(({ box }) => box.checked).map(({ scope }) => scope),
      study_id: study.value || null,
      expires_at: expires.value ? new Date(expires.value).toISOString() : null,
    });
    result.append(
      h(
        "div.notice",
        {},
        h(
          "p",
          {},
          h("strong", {}, "The key of “", h("bdi", {}, made.name), "”. "),
          "Copy it now: nobody can show it again.",
        ),
        terminal(made.key),
      ),
    );
    name.value = "";
  };
  return [
    form(
      { autocomplete: "off" },
      "Make the key",
      { run, done: () => reload(), needs: "admin" },
      h(
        "div.fields",
        {},
        h("div.field", {}, labelled("Name", name)),
        h("div.field", {}, labelled("Bound to", study)),
        h("div.field", {}, labelled("Expires (empty: never)", expires)),
      ),
      h(
        "fieldset",
        {},
        h("legend", {}, "Scopes"),
        scopes.map(({ scope, box }) => labelled(scope, box)),
      ),
    ),
    result,
  ];
}

/** @param {HTMLElement} element @returns {HTMLInputElement} */
const field = (element) => /** @type {any} */ (element);

function list(keys, studies) {
  const rows = keys.map((key) =>
    h(
      "tr",
      {},
      nameCell(key.name),
      h("td", {}, key.scopes.join(", ")),
      h(
        "td",
        {},
        key.study_id
          ? h(
              "a",
              { href: `/studies/${key.study_id}` },
              h("bdi", {}, studies.get(key.study_id) ?? shortId(key.study_id)),
            )
          : "all studies",
      ),
      h("td", {}, stateOf(key)),
      h("td.time", {}, time(key.created_at)),
      h("td.time", {}, key.expires_at ? time(key.expires_at) : "never"),
      h("td.time", {}, time(key.last_used_at)),
      h(
        "td",
        {},
        key.revoked_at === null &&
          action("Revoke", {
            run: () => postJson(`/keys/${key.id}/revoke`),
            done: reload,
            needs: "admin",
            sure: "Really revoke, for good?",
            key: `revoke ${key.id}`,
            of: key.name,
          }),
      ),
    ),
  );
  return table(
    ["Key", "Scopes", "Bound to", "State", "Made", "Expires", "Last used", "Actions"],
    rows,
    "Keys, newest first",
  );
}

function stateOf(key) {
  if (key.revoked_at) return h("span.tag.bad", { title: time(key.revoked_at) }, "✕ revoked");
  if (key.expires_at && Date.parse(key.expires_at) < Date.now()) return h("span.tag.warn", {}, "◌ expired");
  return h("span.tag.good", {}, "✓ in use");
}

reload = keepFresh(round, document.getElementById("page"));
