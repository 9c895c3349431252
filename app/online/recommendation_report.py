"""Recommendations of the service as people read them: what decides whether to act on them, the weights first.

The objective is the weighted mean of the targets as losses, or the worst excess, so lower is better. A single target
is shown in its own direction. Intervals are 90 %.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from app.loss_units import objective_unit, objective_words, titled, words
from app.online.output import count, mixture, table, when
from app.schemas.fits import Interval, MixturePrediction
from app.schemas.recommendations import (
    ArmRead,
    DomainWeight,
    RecommendationDetails,
    RecommendationDiff,
    RecommendationRead,
    VerificationRead,
)
from app.schemas.studies import TargetIn
from app.terminal import number, say

RECOMMENDATION_COLUMNS = ("id", "state", "law", "largest weights", "made", "error")
_RECOMMENDED, _BEST_MEASURED = "recommended", "best_measured"
# A table of more rows is for a program to read.
_MOST_ROWS = 25
_SAME = 1e-6


def recommendation_row(made: RecommendationRead) -> Sequence[str]:
    """A recommendation in a list."""
    weights = mixture({one.domain: one.weight for one in made.weights}, most=3) if made.weights else "-"
    return (str(made.id), str(made.state), made.law, weights, when(made.created_at), made.error or "")


def show_recommendation(targets: Sequence[TargetIn], console: Console, made: RecommendationRead) -> None:
    """Everything of a recommendation."""
    say(console, f"Recommendation {made.id} {made.state}.")
    if made.error:
        say(console, f"Error: {made.error}")
    _show_origin(console, made)
    if made.weights:
        _show_weights(console, made.weights)
    if made.predictions:
        _show_objectives(console, made, targets)
        _show_targets(console, made, {target.name: target.unit for target in targets})
    if made.details is not None:
        _show_details(console, made.details)
    if made.message:
        say(console, made.message)


def objective_of(made: RecommendationRead, targets: Sequence[TargetIn]) -> tuple[str, str]:
    """(unit, what it is made of) of the objective that was asked for; the unit is empty where targets share none."""
    asked, shares = made.objective, made.details.target_weights if made.details else {}
    counted = [target.model_copy(update={"weight": shares.get(target.name, target.weight)}) for target in targets]
    if not asked.minimise_worst:
        return objective_unit(counted), objective_words(counted)
    level = "family" if asked.worst_by == "families" else "target"
    excess = f"the largest excess of a {level} over the {(asked.reference or 'natural').replace('_', ' ')} mixture"
    if asked.worst_in_spreads:
        return "standard deviations", f"{excess}, in standard deviations over the runs"
    return objective_unit(counted), excess


def show_diff(unit: str, console: Console, diff: RecommendationDiff) -> None:
    """What moves, and what it gains. ``unit`` is that of the objective."""
    say(console, f"Recommendation {diff.recommendation_id} against {diff.against}.")
    rows = (
        (one.domain, f"{one.weight:.4f}", f"{one.against:.4f}", f"{one.change:+.4f}", _moved(one.tokens_moved))
        for one in diff.domains
    )
    console.print(table(("domain", ">here", ">there", ">change", ">tokens moved"), rows))
    say(console, f"{diff.share_moved:.1%} of the mixture changes hands.")
    if diff.gains is not None:
        gain = diff.gains.objective
        say(console, f"{titled('Predicted gain in the objective', unit)}: {gain.mean:+.4f} ({_signed(gain)}).")
    for what, changed in (("Objective", diff.objective), ("Constraint", diff.constraints)):
        for name, one in changed.items():
            say(console, f"{what} {name}: {one.here} here, {one.there} there.")
    if diff.law is not None:
        say(console, f"Law: {diff.law.here} here, {diff.law.there} there.")
    if diff.runs is not None and not diff.runs.same_data:
        say(console, f"Runs: {diff.runs.added} only here, {diff.runs.removed} only there.")


def show_verification(unit: str, console: Console, verified: VerificationRead) -> None:
    """Measured beside predicted. ``unit`` is that of the objective."""
    columns = ("mixture", ">seeds", ">measured", ">standard error", ">predicted")
    console.print(table(columns, map(_arm, verified.arms), titled("Verification: objective", unit)))
    for one in verified.contrasts:
        if one.difference is None or one.low is None or one.high is None:
            say(console, f"Against {one.baseline}: {one.verdict}.")
            continue
        reach = f"{one.low:+.4f} to {one.high:+.4f}"
        say(console, f"Against {one.baseline}: {one.difference:+.4f} (95 % interval {reach}): {one.verdict}.")
    for sentence in verified.notes:
        say(console, f"{sentence}.")
    if not verified.done:
        say(console, "Not all runs have ended yet.")


def _arm(arm: ArmRead) -> Sequence[str]:
    predicted = "-" if arm.predicted is None else _reach(arm.predicted)
    return (arm.name, f"{arm.seeds_done} of {arm.seeds_asked}", number(arm.mean), number(arm.stderr), predicted)


def _show_origin(console: Console, made: RecommendationRead) -> None:
    origin = made.provenance
    if origin is None:
        say(console, f"Law: {made.law}, of fit {made.fit_id}.")
        return
    because = f", because {origin.reason}" if origin.reason else ""
    fidelity = origin.fidelity
    say(
        console,
        f"Law: {origin.law}{because}. Out of fold: Spearman {number(fidelity.objective_spearman, 3)}, "
        f"MAE {number(fidelity.objective_mae, 5)}, R2 {number(fidelity.objective_r2, 3)}. "
        f"Fit {origin.fit_id} of {origin.runs} {origin.run_fidelity} runs.",
    )


def _show_weights(console: Console, weights: Sequence[DomainWeight]) -> None:
    flat = any(one.low is not None for one in weights)
    bounded = any(one.min_weight > 0 or one.max_weight < 1 for one in weights)
    held = any(one.held_by for one in weights)
    counted = any(one.epochs is not None for one in weights)
    columns = ["domain", ">prior", ">recommended"]
    optional = ((flat, ">equally good"), (bounded, ">bounds"), (held, "held by"), (counted, ">epochs"))
    columns += [name for there, name in optional if there]
    rows = []
    for one in weights:
        cells = (
            (flat, "-" if one.low is None or one.high is None else f"{one.low:.3f} - {one.high:.3f}"),
            (bounded, f"{one.min_weight:.3g} - {one.max_weight:.3g}"),
            (held, one.held_by or ""),
            (counted, number(one.epochs, 2)),
        )
        row = (one.domain, f"{one.prior:.4f}", f"{one.weight:.4f}", *(cell for there, cell in cells if there))
        rows.append((one, row))
    if len(rows) > _MOST_ROWS:
        rows.sort(key=lambda pair: -pair[0].weight)
    console.print(table(columns, (row for _, row in rows[:_MOST_ROWS]), "Weights"))
    if len(rows) > _MOST_ROWS:
        rest = sum(one.weight for one, _ in rows[_MOST_ROWS:])
        say(console, f"{len(rows) - _MOST_ROWS} others have {rest:.4f} together; --json has all.")


def _show_objectives(console: Console, made: RecommendationRead, targets: Sequence[TargetIn]) -> None:
    unit, made_of = objective_of(made, targets)
    gains = made.details.gains if made.details else {}
    outside = made.details.outside if made.details else []
    rows = []
    for name, label in _distinct(made.predictions).items():
        predicted = made.predictions[name].objective
        cells = [label + (" (not allowed)" if name in outside else ""), number(predicted.mean), _reach(predicted)]
        gain = gains.get(name)
        cells += ["", ""] if gain is None else [f"{gain.objective.mean:+.4f}", _signed(gain.objective)]
        rows.append(cells)
    columns = ("mixture", ">mean", ">90 % interval", ">gain", ">90 % interval of the gain")
    console.print(table(columns, rows, f"{titled('Predicted objective', unit)}, lower is better"))
    say(console, f"The objective is {made_of}.")


def _show_targets(console: Console, made: RecommendationRead, units: dict[str, str]) -> None:
    own = made.predictions.get(_RECOMMENDED)
    if own is None:
        return
    shares = made.details.target_weights if made.details else {}
    baselines = [name for name in _distinct(made.predictions) if name != _RECOMMENDED]
    names = sorted(own.targets, key=lambda name: -shares.get(name, 0.0))[:_MOST_ROWS]
    shown = [name for name in own.targets if name in set(names)]
    mixed = len({units.get(name) for name in shown}) > 1
    rows = (
        (
            name,
            *([words(units.get(name, "")) or "-"] if mixed else []),
            number(shares.get(name), 3),
            f"{own.targets[name].mean:.3f} +- {(own.targets[name].high - own.targets[name].low) / 2:.3f}",
            *(f"{made.predictions[other].targets[name].mean:.3f}" for other in baselines),
        )
        for name in shown
    )
    compared = (f">{name.replace('_', ' ')}" for name in baselines)
    columns = ("target", *(["unit"] if mixed else []), ">weight", ">recommended", *compared)
    title = "Predicted targets" if mixed else titled("Predicted targets", units.get(shown[0], ""))
    console.print(table(columns, rows, title))
    if len(own.targets) > len(shown):
        say(console, f"The {len(shown)} targets that weigh most; --json has all {len(own.targets)}.")


def _show_details(console: Console, details: RecommendationDetails) -> None:
    if details.prices:
        say(console, "What easing the active constraints is worth:")
        for price in details.prices:
            say(console, f"  {price.words}")
    if details.unseen_domains:
        say(console, f"Warning: no run contained {', '.join(details.unseen_domains)}.")
    for sentence in details.warnings:
        say(console, f"Warning: {sentence}.")
    if details.worst_mixture is not None:
        worst = details.worst_mixture
        say(
            console,
            "To test the law, train the mixture that it expects to be worst: "
            f"{mixture(worst.weights)}. Predicted {number(worst.objective.mean)}.",
        )
    if details.pareto is not None:
        points, families = len(details.pareto.points), len(details.pareto.families)
        say(console, f"--json has the {points} mixtures of the Pareto front over {families} families.")
    if details.offered.mixture == _BEST_MEASURED:
        runs = ", ".join(details.offered.runs[:3])
        say(console, f"Best measured mixture ({runs}): {mixture(details.offered.weights)}.")


def _distinct(predictions: dict[str, MixturePrediction]) -> dict[str, str]:
    """Each mixture that differs from those before it, and a label that names all that equal it."""
    labels: dict[str, str] = {}
    for name, one in predictions.items():
        twin = next((other for other in labels if _same(predictions[other].weights, one.weights)), None)
        if twin is None or twin == _RECOMMENDED:
            labels[name] = name.replace("_", " ")
        else:
            labels[twin] += f", {name.replace('_', ' ')}"
    return labels


def _same(p: dict[str, float], q: dict[str, float]) -> bool:
    return all(abs(p.get(name, 0.0) - q.get(name, 0.0)) < _SAME for name in {*p, *q})


def _moved(tokens: float | None) -> str:
    return f"-{count(-tokens)}" if tokens is not None and tokens < 0 else count(tokens)


def _reach(interval: Interval) -> str:
    return f"{interval.low:.4f} to {interval.high:.4f}"


def _signed(interval: Interval) -> str:
    return f"{interval.low:+.4f} to {interval.high:+.4f}"
