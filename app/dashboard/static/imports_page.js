// Takes runs of files and trackers into a study: a form, the report of what it did, and the imports so far.

import { form } from "./actions.js";
import { getJson, postForm, postJson } from "./api.js";
import { crumbs } from "./crumbs.js";
import { choice, h, labelled, show, table } from "./dom.js";
import { exact, shortId, time } from "./format.js";
import { importReport } from "./import_report.js";
import { keepFresh } from "./keep_fresh.js";
import { createPager } from "./pager.js";
import { select, selected } from "./query.js";
import { fieldsOf } from "./schema_fields.js";

const ROWS = 20;
const root = document.getElementById("page");
const id = encodeURIComponent(root.dataset.study);
/** @type {HTMLElement} */
const maker = root.querySelector("#form .body");
/** @type {HTMLElement} */
const reported = root.querySelector("#report .body");
/** @type {HTMLElement} */
const past = root.querySelector("#past .body");
const pager = createPager(() => reload());
/** @type {any[]|undefined} */
let formats;
let reload = () => {};

async function round() {
  const study = await getJson(`/studies/${id}`);
  document.title = `Imports of ${study.name} · Mixwright`;
  show(document.getElementById("head"), study.name, () => crumbs(study, "/imports"));
  formats ??= (await getJson("/import-formats")).items;
  const format = formats.find((each) => each.name === selected("format")) ?? formats[0];
  show(maker, format.name, () => source(format));
  await showReport();
  const page = await getJson(`/studies/${id}/imports`, { limit: ROWS, cursor: selected("cursor") });
  show(past, [page, pager.key(), selected("import")], () => [list(page.items), pager.buttons(page.next_cursor)]);
  return false;
}

/** The report that the address names; that of a dry run stays until another is shown. */
async function showReport() {
  const wanted = selected("import");
  if (wanted) {
    const report = await getJson(`/imports/${encodeURIComponent(wanted)}`);
    show(reported, ["report", report], () => importReport(report));
  } else if (reported.querySelector(".report") === null) {
    show(reported, "none", () => h("p.about", {}, "The report appears here after an import or its dry run."));
  }
}

/** @param {{name: string, title: string, options: any}} format */
function source(format) {
  const box = (checked) =>
    /** @type {HTMLInputElement} */ (/** @type {any} */ (h("input", { type: "checkbox", checked })));
  const files = /** @type {HTMLInputElement} */ (/** @type {any} */ (h("input", { type: "file", multiple: true })));
  const prefix = /** @type {HTMLInputElement} */ (/** @type {any} */ (h("input", { type: "text", maxlength: 100 })));
  const checks = { dry_run: box(true), update: box(false), strict: box(false) };
  const options = fieldsOf(format.options);
  const run = async () => {
    const given = options.map(({ name, value }) => [name, value()]).filter(([, value]) => value !== undefined);
    const flags = Object.entries(checks).map(([name, check]) => [name, check.checked]);
    const settings = {
      format: format.name,
      ...Object.fromEntries(flags),
      options: Object.fromEntries(given),
      id_prefix: prefix.value,
    };
    const report = await send(settings, [...(files.files ?? [])]);
    select({ import: report.id });
    show(reported, ["report", report], () => importReport(report));
    reported.scrollIntoView({ block: "nearest" });
  };
  const all = formats.map((each) => ({ value: each.name, text: each.title }));
  return form(
    {},
    "Import",
    { run, done: () => reload() },
    choice("Format", all, format.name, (value) => {
      select({ format: value });
      reload();
    }),
    h(
      "div.fields",
      {},
      h(
        "div.field",
        {},
        labelled("Files", files),
        h("span.about", {}, "none for a tracker that is asked over the network"),
      ),
      h("div.field", {}, labelled("Prefix of ids", prefix), h("span.about", {}, "put before every id of the source")),
      options.map((option) => option.element),
    ),
    h(
      "fieldset",
      {},
      h("legend", {}, "How"),
      labelled("dry run: store nothing", checks.dry_run),
      labelled("replace stored runs that differ", checks.update),
      labelled("strict: refuse when a finished run cannot be taken", checks.strict),
    ),
  );
}

/** @param {object} settings @param {File[]} files @returns {Promise<any>} the report */
function send(settings, files) {
  if (files.length === 0) return postJson(`/studies/${id}/imports`, settings);
  const body = new FormData();
  body.append("settings", JSON.stringify(settings));
  for (const file of files) body.append("files", file, file.name);
  return postForm(`/studies/${id}/imports`, body);
}

function list(reports) {
  if (reports.length === 0) return h("p.about", {}, "Nothing was imported yet.");
  const rows = reports.map((report) => {
    const pick = () => {
      select({ import: report.id });
      reload();
    };
    return h(
      `tr${report.id === selected("import") ? ".chosen" : ""}`,
      {},
      h(
        "th.name",
        { scope: "row" },
        h(
          "button.link",
          { type: "button", "data-focus": report.id, title: "Show its report", onclick: pick },
          shortId(report.id),
        ),
      ),
      h("td", {}, report.format),
      h("td.note", {}, h("bdi", {}, report.source)),
      h("td.number", {}, exact(report.taken)),
      h("td.number", {}, exact(report.updated)),
      h("td.number", {}, exact(report.skipped.reduce((sum, reason) => sum + reason.count, 0))),
      h("td.time", {}, time(report.created_at)),
    );
  });
  return table(["Import", "Format", "Source", "#Taken", "#Updated", "#Skipped", "When"], rows, "Imports, newest first");
}

reload = keepFresh(round, root);
