// The report of an import: what was taken, what was not and why, and what somebody should look at.

import { h, nameCell, table } from "./dom.js";
import { count, exact, time, words } from "./format.js";

/** @param {any} report as the API gives it @returns {HTMLElement} */
export function importReport(report) {
  return h(
    "div.report",
    {},
    h(
      "p",
      {},
      report.dry_run ? h("span.tag.warn", {}, "dry run: nothing is stored") : h("span.tag.good", {}, "✓ stored"),
      " ",
      h("bdi", {}, report.source),
      h("span.about", {}, ` · ${report.format} · ${time(report.created_at)}`),
    ),
    tallies(report),
    [...report.hints, ...suspicious(report)].map((hint) => h("p.notice.warn", {}, h("bdi", {}, hint))),
    skipped(report.skipped),
    details(report),
  );
}

function tallies(report) {
  const left = report.skipped.reduce((sum, reason) => sum + reason.count, 0);
  const entry = (name, n, about) => h("div", { title: about }, h("dt", {}, name), h("dd", {}, exact(n)));
  return h(
    "dl.measures",
    {},
    entry("Read", report.runs_read, "runs of the source"),
    entry("Taken", report.taken, "new runs, or runs that got new measurements"),
    entry("Updated", report.updated, "stored runs that were replaced"),
    entry("Already there", report.already_there, "stored before with the same values"),
    entry("Differ", report.differs.count, "stored before with other values, and left as they are"),
    entry("Told twice", report.duplicates.count, "with the same values, and taken once"),
    entry("Skipped", left, "left out for a reason"),
    entry("Renormalised", report.renormalised.count, "weights missed a sum of 1 and were divided by it"),
  );
}

/** @returns {string[]} */
const suspicious = (report) =>
  report.suspicious.map(
    (found) => `${found.target}: ${words(found.kind)} in ${exact(found.count)} runs (${first(found)}).`,
  );

/** @param {{first_ids: string[], count: number}} listed */
const first = ({ first_ids: ids, count: n }) =>
  `${ids.slice(0, 5).join(", ")}${n > Math.min(ids.length, 5) ? ", …" : ""}`;

function skipped(reasons) {
  if (reasons.length === 0) return null;
  const rows = reasons.map((reason) =>
    h(
      "tr",
      {},
      nameCell(words(reason.reason)),
      h("td.number", {}, exact(reason.count)),
      h("td.note", {}, h("bdi", {}, reason.detail)),
      h("td.note", {}, h("bdi", {}, first(reason))),
    ),
  );
  return table(["Skipped because", "#Runs", "Detail", "First"], rows, "Runs that were left out, and why");
}

function details(report) {
  const worst = report.renormalised.worst_sum;
  const parts = [
    ...report.notes,
    report.unknown_domains.length > 0 && `Domains that the study does not have: ${report.unknown_domains.join(", ")}.`,
    report.unknown_targets.length > 0 &&
      `Targets that the study does not have, not taken: ${report.unknown_targets.join(", ")}.`,
    ...Object.entries(report.missing_metrics).map(([target, n]) => `${target}: ${exact(n)} runs without a value.`),
    report.differs.count > 0 && `Stored with other values, and left: ${first(report.differs)}.`,
    worst !== null && `The sum of weights furthest from 1 was ${worst} (${report.renormalised.worst_id}).`,
    report.scales.length > 0 && `Scales: ${report.scales.map(scale).join(", ")}.`,
  ].filter(Boolean);
  return (
    parts.length > 0 &&
    h(
      "ul.notes",
      {},
      parts.map((part) => h("li", {}, h("bdi", {}, part))),
    )
  );
}

const scale = (seen) =>
  `${count(seen.model_params)} parameters × ${count(seen.train_tokens)} tokens (${exact(seen.runs)} runs)`;
