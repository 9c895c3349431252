"""Reports of the offline commands as tables and sentences for people.

The objective is the weighted mean of the targets as losses (a target to be maximised enters negated), so lower is
better. A single target is shown in its own direction. Intervals are 90 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

from app.formats.remarks import Remarks
from app.formats.swarm_folder import Swarm
from app.offline import Answers, Question, TrustedLaw, odd_runs
from app.offline_documents import domain_weights
from app.schemas import DomainWeight
from mixers.fidelity import Comparison, LawReport
from mixers.learning_curve import CurvePoint
from mixers.recommendation import MixturePrediction, Recommendation, interval
from mixers.types import Scale, Targets

# A table of more targets than this is for a program to read.
_MOST_TARGETS = 25


def show_comparison(console: Console, swarm: Swarm, comparison: Comparison) -> None:
    """One table: a law a row, out of fold; under it why laws were skipped, and which one was chosen."""
    _show_input(console, swarm, swarm.remarks + odd_runs(comparison))
    console.print(_fidelity_table(comparison))
    _say(
        console,
        "All but the coverage are of the objective, the weighted mean of the targets, inside of each scale; regret is "
        "the loss of the run that a law ranks first above the best run. --json has each target.",
    )
    _say(console, _noise_sentence(comparison))
    for report in comparison.reports:
        if report.skipped is not None:
            _say(console, f"Skipped {report.law}: {report.skipped}.")
        elif report.shares is not None and report.law == "auto":
            _show_shares(console, report, swarm.runs.targets)
            _say(console, f"Price of the choice: {comparison.price_of(report)}.")
    _say(console, f"Chosen law: {comparison.choice}: {comparison.reason}.")


def show_learning_curve(console: Console, law: str, points: Sequence[CurvePoint]) -> None:
    """Fidelity against the number of mixtures."""
    table = Table("mixtures", title=f"Learning curve of {law}", title_justify="left")
    for column in ("Spearman", "+-", "MAE"):
        table.add_column(column, justify="right")
    for point in points:
        table.add_row(
            str(point.mixtures), _shown(point.spearman, 3), _shown(point.spearman_std, 3), _shown(point.mae, 5)
        )
    console.print(table)
    for point in points:
        if point.problem is not None:
            _say(console, f"{point.mixtures} mixtures: {point.problem}.")


def _fidelity_table(comparison: Comparison) -> Table:
    transferred = any(math.isfinite(report.transfer) for report in comparison.reports)
    table = Table("law", title="Out-of-fold fidelity", title_justify="left")
    headings = ("Spearman", "MAE", "R2", "regret", "90 % coverage", *(["largest scale"] * transferred), "seconds")
    for column in headings:
        table.add_column(column, justify="right")
    for report in comparison.reports:
        objective = report.objective
        cells = [
            _shown(objective.spearman, 3),
            _shown(objective.mae, 5),
            _shown(objective.r2, 3),
            _shown(objective.regret, 5),
            _shown(report.coverage90, 3),
        ]
        if transferred:
            cells.append(_shown(report.transfer, 3))
        seconds = "skipped" if report.skipped is not None else _shown(report.fit_seconds, 1)
        table.add_row(report.law, *cells, seconds)
    if transferred:
        table.caption = "largest scale: Spearman there after a fit to the other scales"
    return table


def _noise_sentence(comparison: Comparison) -> str:
    noise = comparison.noise
    if not noise.known:
        return "The noise floor is not known: no mixture was trained twice at one scale. Repeat a few with other seeds."
    return (
        f"Noise floor: repeats of one mixture differ by {_shown(noise.objective_std, 5)} in the objective (standard "
        f"deviation, {int(noise.freedom.max())} degrees of freedom); no law can do better."
    )


def _show_shares(console: Console, report: LawReport, targets: Targets) -> None:
    if report.shares is None:
        return
    if report.shares.note:
        _say(console, f"auto: {report.shares.note}.")
    if len(targets) > _MOST_TARGETS:
        _say(console, f"--json says what predicts each of the {len(targets)} targets, and why.")
        return
    for name, reason in zip(targets.names, report.shares.reasons, strict=True):
        _say(console, f"  {name}: {reason}.")


def show_recommendation(
    console: Console, swarm: Swarm, law: TrustedLaw, question: Question, best: Recommendation
) -> None:
    """Weights, and the predicted objective and targets of the recommended mixture and its baselines."""
    problem = question.problem
    _show_input(console, swarm, swarm.remarks + law.remarks + question.remarks)
    _show_law(console, law)
    _say(console, f"Predicted at {_scale(problem.scale)}.")
    console.print(_weights_table(domain_weights(problem, best)))
    console.print(_objective_table(best.predictions))
    if len(problem.targets) <= _MOST_TARGETS:
        console.print(_targets_table(best.predictions, problem.targets))
    else:
        _say(console, f"--json has the predictions of all {len(problem.targets)} targets.")
    _say(console, best.message)


def show_predictions(console: Console, swarm: Swarm, law: TrustedLaw, answers: Answers, out: str) -> None:
    """What was written, by which law."""
    _show_input(console, swarm, swarm.remarks + law.remarks + answers.remarks)
    _show_law(console, law)
    _say(console, f"Wrote {len(answers.run_ids)} predictions of {len(swarm.runs.targets)} targets to {out}.")


def _weights_table(rows: list[DomainWeight]) -> Table:
    bounded = any(row.max_weight < 1 for row in rows)
    counted = any(row.epochs is not None for row in rows)
    table = Table("domain", title="Weights", title_justify="left")
    for column in ("prior", "recommended", *(["at most"] * bounded), *(["epochs"] * counted)):
        table.add_column(column, justify="right")
    for row in rows:
        cells = [row.domain, f"{row.prior:.4f}", f"{row.weight:.4f}"]
        if bounded:
            cells.append(f"{row.max_weight:.4f}" + (" (reached)" if row.capped else ""))
        if counted:
            cells.append(_shown(row.epochs, 2))
        table.add_row(*cells)
    return table


def _objective_table(predictions: dict[str, MixturePrediction]) -> Table:
    table = Table("mixture", title="Predicted objective (lower is better)", title_justify="left")
    for column in ("mean", "90 % from", "to"):
        table.add_column(column, justify="right")
    for name, predicted in predictions.items():
        reach = interval(predicted.objective_mean, predicted.objective_std)
        table.add_row(name.replace("_", " "), *(f"{value:.4f}" for value in (predicted.objective_mean, *reach)))
    return table


def _targets_table(predictions: dict[str, MixturePrediction], targets: Targets) -> Table:
    table = Table("target", title="Predicted targets", title_justify="left")
    table.add_column("weight", justify="right")
    for name in predictions:
        table.add_column(name.replace("_", " "), justify="right")
    signs = np.where(targets.maximised, -1.0, 1.0)
    columns = [(predicted.targets.mean * signs).tolist() for predicted in predictions.values()]
    for j, name in enumerate(targets.names):
        table.add_row(name, f"{targets.weights[j]:.4g}", *(f"{column[j]:.4f}" for column in columns))
    return table


def _show_input(console: Console, swarm: Swarm, remarks: Remarks) -> None:
    runs = swarm.runs
    mixtures, scales = (int(group.max()) + 1 for group in (runs.mixture_groups, runs.scale_groups))
    _say(
        console,
        f"{swarm.folder}: {_count(len(runs), 'run')} of {_count(mixtures, 'mixture')} at {_count(scales, 'scale')}, "
        f"{_count(len(runs.domains), 'domain')}, {_count(len(runs.targets), 'target')}.",
    )
    for sentence in remarks.notes:
        _say(console, f"Note: {sentence}.")
    for sentence in remarks.warnings:
        _say(console, f"Warning: {sentence}.")


def _show_law(console: Console, law: TrustedLaw) -> None:
    report = law.report
    _say(
        console,
        f"Law: {report.law}, because {law.reason}. Out of fold: Spearman {_shown(report.objective.spearman, 3)}, "
        f"MAE {_shown(report.objective.mae, 5)}, R2 {_shown(report.objective.r2, 3)}.",
    )


def _scale(scale: Scale) -> str:
    parts = (("model_params", float(scale.model_params)), ("train_tokens", float(scale.train_tokens)))
    known = [f"{label} {value:.6g}" for label, value in parts if math.isfinite(value)]
    return ", ".join(known) or "the scale of the runs, which is not stated"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _say(console: Console, sentence: str) -> None:
    console.print(sentence, soft_wrap=True)


def _shown(value: float | None, digits: int) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"
