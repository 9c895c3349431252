// The domains: how much text there is, where it comes from, under which licence; and the targets.

import { getJson } from "./api.js";
import { h, nameCell, show, table } from "./dom.js";
import { count, decimal, exact, percent } from "./format.js";
import { unitWords } from "./objective.js";
import { bindingsTable, versionsTable } from "./versions.js";

const VERSIONS = 20;

/** @param {HTMLElement} body */
export function create(body) {
  return {
    /** @param {import("./api_types.js").Context} context */
    async update({ study }) {
      const [versions, bindings] = await Promise.all([
        getJson(`/studies/${study.id}/domain-sets`, { limit: VERSIONS }),
        getJson(`/domain-sets/${study.domain_set.id}/bindings`),
      ]);
      show(body, [study.domain_set, study.targets, study.stranded_runs, versions, bindings], () => [
        domains(study.domain_set),
        h("h3", {}, "Targets"),
        targets(study.targets),
        h("h3", {}, "Versions of the domains"),
        versionsTable(versions.items, study.stranded_runs),
        h("h3", {}, "Bindings for trainers"),
        bindingsTable(bindings.items),
      ]);
    },
  };
}

function domains(set) {
  const rows = set.domains.map((domain) =>
    h(
      "tr",
      {},
      nameCell(domain.name),
      h("td.number", { title: `${exact(domain.available_tokens)} tokens` }, count(domain.available_tokens)),
      h("td.number", {}, percent(domain.prior)),
      h("td", {}, domain.source || h("span.about", {}, "not given")),
      h("td", {}, domain.licence || h("span.about", {}, "not given")),
    ),
  );
  const total = set.domains.reduce((sum, domain) => sum + (domain.available_tokens ?? 0), 0);
  return [
    table(
      ["Domain", "#Tokens", "#Natural share", "Source", "Licence"],
      rows,
      "Domains with tokens, source and licence",
    ),
    h(
      "p.about",
      {},
      `${set.domains.length} domains, ${total ? `${count(total)} tokens in all` : "sizes not given"}; version ${set.version} of the domain set.`,
    ),
  ];
}

function targets(list) {
  const families = list.some((target) => target.family);
  const total = list.reduce((sum, target) => sum + target.weight, 0);
  const rows = list.map((target) =>
    h(
      "tr",
      {},
      nameCell(target.name),
      h("td", {}, unitWords(target.unit) || h("span.about", {}, "not given")),
      h("td", {}, target.direction === "maximize" ? "the higher the better" : "the lower the better"),
      h("td.number", {}, decimal(target.weight, 2)),
      h("td.number", {}, percent(target.weight / total)),
      families && h("td", {}, target.family),
    ),
  );
  return table(
    ["Target", "Unit", "Direction", "#Weight", "#Share of the objective", ...(families ? ["Family"] : [])],
    rows,
    "Targets with their weights in the objective",
  );
}
