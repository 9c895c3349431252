// What the study is, and where it stands, at a glance.

import { crumbs } from "./crumbs.js";
import { h, show } from "./dom.js";
import { count, decimal, time, words } from "./format.js";
import { describeObjective } from "./objective.js";
import { isBusy } from "./run_state.js";
import { verdictTag } from "./verification.js";

/** @param {HTMLElement} place @param {import("./api_types.js").Context} context */
export function showHead(place, context) {
  const { study, fit, recommendation, verification } = context;
  document.title = `${study.name} · Mixwright`;
  const key = [study, fit?.id, fit?.state, fit?.progress, recommendation?.id, recommendation?.state, verification];
  show(place, key, () => [
    crumbs(study, ""),
    h("h1", {}, study.name),
    study.description && h("p.lead", {}, study.description),
    h("p.about", {}, facts(study)),
    nextStep(context),
    h("div.tiles", {}, runsTile(study), lawTile(fit), weightsTile(study, recommendation), verdictTile(verification)),
  ]);
}

function facts(study) {
  const { target_tokens, max_epochs, max_epochs_each } = study.constraints;
  const own = Object.keys(max_epochs_each).length;
  const caps = [
    max_epochs !== null && `at most ${max_epochs} epochs in ${count(target_tokens)} tokens`,
    own > 0 && `${own === 1 ? "an epoch cap" : "epoch caps"} of ${own} ${own === 1 ? "domain" : "domains"}`,
  ].filter(Boolean);
  const parts = [
    `${study.domain_set.domains.length} domains`,
    `${study.targets.length} ${study.targets.length === 1 ? "target" : "targets"}`,
    `KL to the prior × ${study.objective.kl_to_prior}`,
    ...(caps.length > 0 ? caps : ["no epoch cap"]),
    `created ${time(study.created_at)}`,
  ];
  return parts.join(" · ");
}

/** @param {import("./api_types.js").Context} context @returns {HTMLElement|null} what the reader can do now */
function nextStep({ study, fit, recommendation, verification }) {
  const counts = study.run_counts;
  let step = null;
  if (Object.values(counts).every((n) => n === 0)) step = ["queue a swarm of proxy runs", "#runs"];
  else if (fit === null && counts.succeeded > 0 && !isBusy(counts)) step = ["fit the mixing laws", "#fidelity"];
  else if (fit?.state === "succeeded" && recommendation === null) step = ["ask for recommended weights", "#weights"];
  else if (verification !== null && verification.arms.length === 0)
    step = ["verify the recommended weights by training them", "#verification"];
  return step && h("p", {}, "Next: ", h("a", { href: step[1] }, step[0]), ".");
}

function tile(title, value, about, href) {
  return h("a.tile", { href }, h("span.title", {}, title), h("span.value", {}, value), h("span.about", {}, about));
}

function runsTile({ run_counts: counts }) {
  const total = Object.values(counts).reduce((a, b) => a + b, 0);
  const rest = Object.entries(counts)
    .filter(([state, n]) => n > 0 && state !== "succeeded")
    .map(([state, n]) => `${n} ${state}`);
  const about = total === 0 ? "none queued" : rest.join(", ") || (isBusy(counts) ? "" : "all succeeded");
  return tile("Measured runs", total === 0 ? "0" : `${counts.succeeded ?? 0} of ${total}`, about, "#runs");
}

function lawTile(fit) {
  if (fit === null) return tile("Mixing law", "–", "not fitted yet", "#fidelity");
  if (fit.state !== "succeeded") return tile("Mixing law", "–", `the fit is ${fit.state}`, "#fidelity");
  const law = fit.fidelity.find((entry) => entry.law === fit.chosen_law);
  return tile(
    "Mixing law",
    fit.chosen_law ?? "none",
    law ? `Spearman ${decimal(law.objective_spearman, 3)} out of fold` : "",
    "#fidelity",
  );
}

function weightsTile(study, recommendation) {
  if (recommendation?.state !== "succeeded") {
    return tile(
      "Predicted objective",
      "–",
      recommendation ? `the recommendation is ${recommendation.state}` : "nothing recommended yet",
      "#weights",
    );
  }
  const { recommended, natural } = recommendation.predictions;
  const { unit } = describeObjective(study.targets, recommendation);
  return tile(
    "Predicted objective",
    decimal(recommended?.objective.mean),
    [unit, natural && `natural mixture ${decimal(natural.objective.mean)}`].filter(Boolean).join("; "),
    "#weights",
  );
}

function verdictTile(verification) {
  const contrasts = verification?.contrasts ?? [];
  if (contrasts.length === 0) return tile("Verdict", "–", "not verified yet", "#verification");
  const first = contrasts.find((contrast) => contrast.baseline === "natural") ?? contrasts[0];
  const others = contrasts
    .filter((contrast) => contrast !== first)
    .map((contrast) => `${words(contrast.baseline)}: ${contrast.verdict}`);
  return tile(
    "Verdict",
    verdictTag(first.verdict),
    [`against ${words(first.baseline)}`, ...others].join("; "),
    "#verification",
  );
}
