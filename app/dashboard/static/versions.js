// The versions of the domains, what their runs are still good for, and where trainers find the domains.

import { h, nameCell, table } from "./dom.js";
import { exact, time } from "./format.js";

/**
 * @param {any[]} versions newest first
 * @param {number} stranded
 * @returns {HTMLElement}
 */
export function versionsTable(versions, stranded) {
  const rows = versions.map((set) =>
    h(
      "tr",
      {},
      h("th.number", { scope: "row" }, set.version),
      h("td.number", {}, exact(set.domains.length)),
      h("td.number", {}, exact(set.measured_runs)),
      h("td", {}, set.enters_fits ? h("span.tag.good", {}, "✓ enter fits") : h("span.tag.warn", {}, "◌ stranded")),
      h("td", {}, renames(set.renames)),
      h("td", { title: set.content_hash }, h("code", {}, set.content_hash.slice(0, 12))),
      h("td.time", {}, time(set.created_at)),
    ),
  );
  return h(
    "div",
    {},
    stranded > 0 &&
      h(
        "p.notice.warn",
        {},
        `${exact(stranded)} measured ${stranded === 1 ? "run is" : "runs are"} stranded on earlier versions with other domains: no fit can use them.`,
      ),
    table(
      ["#Version", "#Domains", "#Measured runs", "Use", "Renamed", "Content", "Made"],
      rows,
      "Versions of the domain set",
    ),
  );
}

/** @param {Record<string, string>} renames */
function renames(renames) {
  const all = Object.entries(renames);
  return all.map(([before, after], i) => [i > 0 && ", ", h("bdi", {}, before), " → ", h("bdi", {}, after)]);
}

/** @param {{trainer: string, paths: Record<string, string[]>, options: Record<string, any>}[]} bindings */
export function bindingsTable(bindings) {
  if (bindings.length === 0) {
    return h("p.about", {}, "No trainer is bound: exports that need paths of the domains ask for a binding.");
  }
  const rows = bindings.map((binding) =>
    h(
      "tr",
      {},
      nameCell(binding.trainer),
      h(
        "td",
        {},
        h(
          "details",
          {},
          h("summary", {}, `${exact(Object.values(binding.paths).flat().length)} paths`),
          h(
            "ul",
            {},
            Object.entries(binding.paths).map(([domain, paths]) =>
              h(
                "li",
                {},
                h("bdi", {}, domain),
                ": ",
                paths.slice(0, 5).map((path, i) => [i > 0 && ", ", h("code", {}, path)]),
                paths.length > 5 && ` and ${paths.length - 5} more`,
              ),
            ),
          ),
        ),
      ),
      h(
        "td.note",
        {},
        Object.entries(binding.options)
          .map(([name, value]) => `${name} = ${value}`)
          .join("; "),
      ),
    ),
  );
  return table(["Trainer", "Paths of the domains", "Defaults of exports"], rows, "Where trainers find the domains");
}
