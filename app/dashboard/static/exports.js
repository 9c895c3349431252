// The recommendation in the formats of trainers: options, files to download, and what to know before using them.

import { action } from "./actions.js";
import { addressOf, getJson } from "./api.js";
import { choice, h, labelled, nameCell, show, table } from "./dom.js";
import { epochs, words } from "./format.js";
import { empty } from "./notices.js";
import { select, selected } from "./query.js";

const FIRST = "json";

/**
 * @param {HTMLElement} body
 * @param {HTMLElement} controls
 * @param {() => void} changed
 */
export function create(body, controls, changed) {
  /** @type {any[]|undefined} */
  let formats;
  return {
    /** @param {import("./api_types.js").Context} context */
    async update({ recommendation, study }) {
      if (recommendation?.state !== "succeeded") {
        show(controls, null, () => null);
        show(body, "none", () => empty("Nothing to export yet", "Recommended weights are written for trainers here."));
        return;
      }
      formats ??= (await getJson("/exports")).items;
      const wanted = selected("export") || FIRST;
      const format = formats.find((each) => each.name === wanted) ?? formats.find((each) => each.name === FIRST);
      const options = formats.map((each) => ({ value: each.name, text: each.title }));
      const mixtures = ["recommended", "best_measured"].filter((name) => name in recommendation.predictions);
      const mixture = mixtures.find((name) => name === selected("mixture")) ?? usual(recommendation, study);
      show(controls, [options, format.name, mixtures, mixture], () => [
        choice("Format", options, format.name, (value) => {
          select({ export: value });
          changed();
        }),
        mixtures.length > 1 &&
          choice(
            "Mixture",
            mixtures.map((name) => ({ value: name, text: words(name) })),
            mixture,
            (value) => {
              select({ mixture: value });
              changed();
            },
          ),
      ]);
      show(body, [recommendation.id, format, mixture], () => content(recommendation, format, mixture));
    },
  };
}

/** The adopted mixture, else the recommended one. */
const usual = (recommendation, study) =>
  recommendation.id === study.adopted_recommendation_id ? study.adopted_mixture : "recommended";

function content(recommendation, format, mixture) {
  const fields = format.options.map((option) => ({ option, control: controlOf(option) }));
  const result = h("div.result", { role: "status" });
  const path = `/recommendations/${recommendation.id}/exports/${format.name}`;
  const write = async () => {
    result.replaceChildren();
    const typed = fields.map(({ option, control }) => [option.name, given(option, control)]);
    const query = { ...Object.fromEntries(typed), mixture };
    const made = await getJson(path, query);
    result.append(...shown(made, addressOf(path, { ...query, download: true })));
  };
  return [
    fields.length > 0 &&
      h(
        "div.fields",
        {},
        fields.map(({ option, control }) => field(option, control)),
      ),
    h(
      "p.about",
      {},
      format.trainer
        ? `Paths come from the binding of the domains for “${format.trainer}”, where there is one. `
        : "This format names domains and needs no paths. ",
    ),
    action("Write the files", { run: write, needs: /** @type {any} */ ("read") }),
    result,
  ];
}

function field(option, control) {
  return h("div.field", {}, labelled(option.name.replaceAll("_", " "), control), h("span.about", {}, option.about));
}

function controlOf(option) {
  const key = { "data-focus": `option ${option.name}` };
  if (option.type === "boolean") return h("input", { ...key, type: "checkbox", checked: option.default === true });
  const number = option.type !== "string";
  return h("input", {
    ...key,
    type: number ? "number" : "text",
    step: option.type === "number" ? "any" : null,
    value: option.default ?? "",
    required: option.default === null,
  });
}

/** What differs from the default; the API fills the rest from the binding or the default. */
function given(option, control) {
  const value = option.type === "boolean" ? control.checked : control.value.trim();
  return String(value) === String(option.default ?? "") ? null : value;
}

function shown(made, address) {
  const rows = Object.entries(made.epochs).map(([domain, passes]) =>
    h("tr", {}, nameCell(domain), h("td.number", {}, epochs(passes))),
  );
  return [
    h(
      "p",
      {},
      h(
        "a.download",
        { href: address, download: "" },
        made.files.length === 1 ? `Download ${made.files[0].name}` : `Download ${made.files.length} files`,
      ),
    ),
    made.notes.length > 0 &&
      h(
        "ul.notes",
        {},
        made.notes.map((note) => h("li", {}, note)),
      ),
    made.dropped.length > 0 &&
      h(
        "p.about",
        {},
        "Without weight: ",
        made.dropped.map((name, i) => [i > 0 && ", ", h("bdi", {}, name)]),
      ),
    h(
      "div.two",
      {},
      h(
        "div",
        {},
        made.files.map((file) =>
          h(
            "details",
            { open: made.files.length === 1 },
            h("summary", {}, file.name),
            h("pre.file", { tabindex: 0 }, file.text),
          ),
        ),
      ),
      table(["Domain", "#Implied epochs"], rows, "Passes over each domain that these files imply"),
    ),
  ].filter((part) => part instanceof Node);
}
