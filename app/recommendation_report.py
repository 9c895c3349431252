"""The report of ``mixwright recommend``: tables and sentences for people, readable at 100 columns.

The objective is the weighted mean of the targets as losses (a target to be maximised enters negated), or the worst
excess where that is minimised, so lower is better. A single target is shown in its own direction. Intervals are 90 %.
"""

from __future__ import annotations

import math

import numpy as np
from rich.console import Console
from rich.table import Table

from app.formats.swarm_folder import Swarm
from app.loss_units import titled, words
from app.offline import Recommended, TrustedLaw
from app.offline_wishes import Question
from app.price_words import price_words
from app.recommendation_rows import (
    TargetRows,
    WeightRow,
    distinct_mixtures,
    runs_of,
    split_rows,
    target_rows,
    weight_rows,
)
from app.report_parts import mean_of, show_law, show_shares, show_swarm, titled_objective
from app.terminal import number, say
from mixers.baselines import BEST_MEASURED, RECOMMENDED
from mixers.laws.calibrated import Z90
from mixers.objectives import family_matrix
from mixers.pareto import ParetoFront, ParetoPoint
from mixers.problem import Level, Problem
from mixers.recommendation import Recommendation, WorstCase, interval
from mixers.repetition import price_of_tokens
from mixers.types import Scale

# Names longer than these are broken over lines: a table must stay readable at 100 columns.
_REPORT_WIDTH, _NAME_WIDTH, _FAMILY_WIDTH = 100, 28, 10
# Headings of columns that are broken so that all baselines fit.
_NARROW = {"temperature": "tempera-\nture", "best_measured": "best\nmeasured"}
# Columns of families that fit beside the largest weights of a point of the front.
_MOST_FAMILIES = 7
# Points of the front that are listed; --json has all.
_MOST_POINTS = 12
# Domains that a sentence names, and their least weight there.
_NAMED, _NAMED_WEIGHT = 8, 1e-3


def show_recommendation(console: Console, swarm: Swarm, law: TrustedLaw, question: Question, made: Recommended) -> None:
    """Everything that decides whether to act on the weights, the weights first."""
    problem, best = question.problem, made.best
    show_swarm(console, swarm, swarm.remarks + law.remarks + question.remarks)
    show_law(console, law)
    show_shares(console, law.report, problem.targets)
    say(console, f"Minimised: {_minimised(problem)}. Predicted at {_scale(problem.scale)}.")
    rows = weight_rows(problem, best)
    console.print(_weights_table(rows, best))
    for sentence in _about_weights(problem, best):
        say(console, sentence)
    console.print(_objective_table(problem, best))
    say(
        console,
        "Gains are over each baseline. Their intervals take two new measurements with independent errors; predictions "
        "of one law share part of theirs, so the intervals are rather too wide than too narrow.",
    )
    console.print(_targets_table(target_rows(law.fitted, problem, best).most_moving(), list(distinct_mixtures(best))))
    _show_prices(console, law, problem, best)
    if best.worst is not None:
        _show_worst(console, problem, best.worst)
    if made.front is not None:
        _show_front(console, problem, best, made.front)
    say(console, best.message)
    if best.offered == BEST_MEASURED:
        _show_offered(console, law, problem, best)


def _minimised(problem: Problem) -> str:
    worst, limit = problem.worst, problem.not_worse
    if worst is None:
        what = mean_of(problem.targets, problem.weights)
    else:
        unit = ", in standard deviations over the runs" if worst.in_spreads else ""
        what = f"the largest excess of a {_one_of(worst.level)} over the {_plain(worst.reference)} mixture{unit}"
    parts = [what]
    if problem.kl_to_prior > 0:
        parts.append(f"{problem.kl_to_prior:g} times the KL divergence to the natural mixture")
    if problem.repetition_price > 0:
        parts.append(f"{problem.repetition_price:g} times the share of tokens wasted on repeats")
    sentence = " plus ".join(parts)
    if limit is not None:
        sentence += f", with no {_one_of(limit.level)} worse than {_plain(limit.baseline)} by more than {limit.by:g}"
        if limit.each:
            sentence += " (" + ", ".join(f"{name}: {by:g}" for name, by in limit.each.items()) + ")"
    return sentence


def _one_of(level: Level) -> str:
    return "family" if level is Level.FAMILIES else "target"


def _weights_table(rows: list[WeightRow], best: Recommendation) -> Table:
    seen, rest = split_rows(rows)
    bounded = any(row.min_weight > 0 or row.max_weight < 1 for row in rows)
    held = any(row.held_by for row in seen)
    flat = best.sensitivity is not None
    counted = any(math.isfinite(row.epochs) for row in rows)
    wasted = any(row.wasted_tokens > 0 for row in rows)
    table = _table("domain", "Weights")
    optional = ((flat, "equally good"), (bounded, "bounds"), (held, "held by"), (counted, "epochs"), (wasted, "wasted"))
    for column in ("prior", "recommended", *(name for there, name in optional if there)):
        table.add_column(column, justify="left" if column == "held by" else "right", no_wrap=True)
    for row in seen:
        cells = (
            (flat, f"{row.low:.3f} - {row.high:.3f}"),
            (bounded, f"{row.min_weight:.3g} - {row.max_weight:.3g}"),
            (held, row.held_by),
            (counted, number(row.epochs, 2)),
            (wasted, _tokens(row.wasted_tokens)),
        )
        table.add_row(row.domain, f"{row.prior:.4f}", f"{row.weight:.4f}", *(cell for there, cell in cells if there))
    if rest:
        prior, weight = (sum(getattr(row, name) for row in rest) for name in ("prior", "weight"))
        table.add_row(f"{len(rest)} others", f"{prior:.4f}", f"{weight:.4f}")
    return table


def _about_weights(problem: Problem, best: Recommendation) -> list[str]:
    sentences = []
    flat = best.sensitivity
    if flat is not None:
        sentences.append(
            f"Equally good: how far a weight can move while the minimised value stays within {flat.margin:.2g} "
            f"of the best (1 % of its spread over the runs), {flat.method}."
        )
    total = float(np.nansum(best.wasted_tokens)) if problem.target_tokens else 0.0
    if total > 0 and problem.target_tokens:
        sentences.append(
            f"Wasted: tokens that repetition makes worthless, {_tokens(total)} in all, "
            f"{100 * total / problem.target_tokens:.1f} % of the run."
        )
    return sentences


def _objective_table(problem: Problem, best: Recommendation) -> Table:
    what = "objective" if problem.worst is None else "worst excess"
    table = _table("mixture", f"{titled_objective(f'Predicted {what}', problem)}, lower is better")
    for column in ("mean", "90 % interval", "gain", "90 % interval"):
        table.add_column(column, justify="right")
    for name, label in distinct_mixtures(best).items():
        predicted = best.predictions[name]
        cells = [f"{predicted.objective_mean:.4f}", _reach(predicted.objective_mean, predicted.objective_std)]
        gain = best.gains.get(name)
        if gain is not None:
            cells += [f"{gain.objective_mean:+.4f}", _reach(gain.objective_mean, gain.objective_std, signed=True)]
        table.add_row(label, *cells)
    return table


def _targets_table(rows: TargetRows, mixtures: list[str]) -> Table:
    """The recommended mixture with its interval; of the baselines the means, or the table would be too wide."""
    what = "targets" if rows.what == "target" else "families, as losses"
    mixed = len(set(rows.units)) > 1
    table = _table(rows.what, f"Predicted {what if mixed else titled(what, rows.units[0])}")
    if mixed:
        table.add_column("unit")
    table.add_column("weight", justify="right")
    table.add_column("recommended", justify="right")
    baselines = [name for name in mixtures if name != RECOMMENDED]
    for name in baselines:
        table.add_column(_NARROW.get(name, name), justify="right")
    own = rows.predictions[RECOMMENDED]
    for i, name in enumerate(rows.names):
        interval_half = Z90 * own.std[i]
        means = [f"{rows.predictions[baseline].mean[i]:.3f}" for baseline in baselines]
        unit = [words(rows.units[i]) or "-"] if mixed else []
        table.add_row(name, *unit, f"{rows.weights[i]:.3f}", f"{own.mean[i]:.3f} +- {interval_half:.3f}", *means)
    table.caption = "+-: half of the 90 % interval; --json has those of the baselines"
    if rows.what == "family" or rows.left_out:
        table.caption += ", and all targets"
    if rows.left_out:
        table.caption += f". Not shown: the {rows.left_out} that move the objective least"
    return table


def _show_prices(console: Console, law: TrustedLaw, problem: Problem, best: Recommendation) -> None:
    if problem.repetition_price > 0:
        natural = price_of_tokens(law.fitted, problem.weights, best.solution.weights, problem.scale)
        if natural is not None:
            say(
                console,
                f"Price of repetition: {problem.repetition_price:g}; under this law losing 1 % of the training tokens "
                f"costs {natural / 100:.2g}, which would be a price of {natural:.2g}.",
            )
    if best.prices.prices:
        say(console, "What easing the active constraints is worth:")
    for price in best.prices.prices:
        say(console, f"  {price_words(price, problem.domains)}")


def _show_worst(console: Console, problem: Problem, worst: WorstCase) -> None:
    predicted = worst.prediction
    say(
        console,
        f"To test the law, train the mixture that it expects to be worst: {_mixture(problem, worst.weights)}. "
        f"Predicted {predicted.objective_mean:.4f} "
        f"({_reach(predicted.objective_mean, predicted.objective_std)}).",
    )


def _show_front(console: Console, problem: Problem, best: Recommendation, front: ParetoFront) -> None:
    if len(front.families) > _MOST_FAMILIES:
        say(
            console,
            f"--json has the {len(front.points)} mixtures of the Pareto front over {len(front.families)} families.",
        )
        return
    table = _table("mixture", "Pareto front over families (predicted losses: lower is better)")
    for family in front.families:
        table.add_column(family, justify="right", max_width=_FAMILY_WIDTH, overflow="fold")
    taken = sum(min(max(len(family), 5), _FAMILY_WIDTH) + 3 for family in front.families) + len(RECOMMENDED) + 7
    table.add_column("largest weights", max_width=max(_REPORT_WIDTH - taken, 16))
    values = family_matrix(problem.targets) @ best.predictions[RECOMMENDED].targets.mean
    table.add_row(RECOMMENDED, *(f"{value:.3f}" for value in values), _largest(problem, best.solution.weights))
    points = _spread_out(front)
    for i, point in enumerate(points, start=1):
        table.add_row(str(i), *(f"{value:.3f}" for value in point.values), _largest(problem, point.weights))
    console.print(table)
    say(
        console,
        "No mixture of the front is predicted better than another in all families; pull and price of repetition are "
        f"left out. {len(points)} of {len(front.points)} are listed; --json has all.",
    )


def _spread_out(front: ParetoFront) -> list[ParetoPoint]:
    """At most ``_MOST_POINTS`` points: each time the one that is furthest from those before, in units of its ranges."""
    values = np.array([point.values for point in front.points])
    values = values / np.maximum(np.ptp(values, axis=0), 1e-9)
    chosen = [0]
    while len(chosen) < min(_MOST_POINTS, len(values)):
        away = np.abs(values[:, None] - values[chosen]).sum(axis=2).min(axis=1)
        if away.max() < 1e-3:  # the rest tells nothing new
            break
        chosen.append(int(np.argmax(away)))
    return [front.points[i] for i in sorted(chosen)]


def _largest(problem: Problem, p: np.ndarray) -> str:
    return ", ".join(f"{problem.domains.names[j]} {p[j]:.2f}" for j in np.argsort(-p, kind="stable")[:2])


def _show_offered(console: Console, law: TrustedLaw, problem: Problem, best: Recommendation) -> None:
    runs = runs_of(law.runs, best.offered_weights)
    named = f"run {runs[0]}" if len(runs) == 1 else f"runs {', '.join(runs[:3])}{', ...' if len(runs) > 3 else ''}"
    say(
        console,
        f"Best measured mixture ({named}): {_mixture(problem, best.offered_weights, most=len(problem.domains))}.",
    )


def _mixture(problem: Problem, p: np.ndarray, most: int = _NAMED) -> str:
    """The weights of a mixture in one phrase, the largest first."""
    order = [j for j in np.argsort(-p, kind="stable") if p[j] >= _NAMED_WEIGHT]
    parts = [f"{problem.domains.names[j]} {p[j]:.4f}" for j in order[:most]]
    if len(order) == 1:
        return f"{problem.domains.names[order[0]]} alone"
    rest = float(1 - p[order[:most]].sum())
    if rest >= 5e-5:
        parts.append(f"others {rest:.4f}")
    return ", ".join(parts)


def _table(first: str, title: str) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.add_column(first, max_width=_NAME_WIDTH, overflow="fold")
    return table


def _reach(mean: float, std: float, signed: bool = False) -> str:
    low, high = interval(mean, std)
    return f"{low:+.4f} to {high:+.4f}" if signed else f"{low:.4f} to {high:.4f}"


def _tokens(count: float) -> str:
    if not math.isfinite(count):
        return "-"
    size, letter = next((unit for unit in ((1e9, " B"), (1e6, " M"), (1e3, " K")) if count >= unit[0]), (1.0, ""))
    return f"{count / size:.3g}{letter}" if count >= 0.5 else "0"


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _scale(scale: Scale) -> str:
    parts = (("model_params", float(scale.model_params)), ("train_tokens", float(scale.train_tokens)))
    known = [f"{label} {value:.6g}" for label, value in parts if math.isfinite(value)]
    return ", ".join(known) or "the scale of the runs, which is not stated"
