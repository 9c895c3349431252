"""Fits as people read them: the laws out of fold, what was chosen, and what is odd about the runs."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from app.loss_units import objective_unit, objective_words, titled
from app.online.output import mixture, table, when
from app.schemas.fits import Findings, FitComparison, FitRead, LawFidelity, OutlierRead, PredictionsRead
from app.schemas.jobs import JobState
from app.schemas.studies import TargetIn
from app.terminal import number, say

FIT_COLUMNS = ("id", "state", ">runs", ">laws", "chosen law", "made", "message")
_MOST_ODD = 10
_MOST_TARGETS = 25


def fit_row(fit: FitRead) -> Sequence[str]:
    """A fit in a list."""
    cells = (str(fit.id), str(fit.state), str(fit.runs_used), str(len(fit.laws)), fit.chosen_law or "-")
    return (*cells, when(fit.created_at), fit.error or (fit.message if fit.state is JobState.RUNNING else ""))


def show_fit(targets: Sequence[TargetIn], console: Console, fit: FitRead) -> None:
    """The table of laws; under it why laws were skipped, and which one was chosen."""
    points = "" if fit.points is None else f" with {fit.points.used} points"
    say(console, f"Fit {fit.id} {fit.state}: {fit.runs_used} runs{points}, {fit.folds} folds, seed {fit.seed}.")
    for what, left in (
        ("are of other domains", fit.runs_left_out),
        ("are excluded", fit.runs_excluded),
        ("are kept out by the filter", fit.runs_filtered),
    ):
        if left:
            say(console, f"{left} measured runs {what}.")
    if fit.targets_left_out:
        say(console, f"No run has measured these targets, which are left out: {', '.join(fit.targets_left_out)}.")
    if fit.error:
        say(console, f"Error: {fit.error}")
    if fit.fidelity:
        _show_laws(console, fit.fidelity)
        say(console, f"All but the coverage are of the objective, {objective_words(targets)}.")
    if fit.findings is not None:
        _show_findings(console, fit.findings)
    if fit.chosen_law:
        say(console, f"Chosen law: {fit.chosen_law}{f': {fit.reason}' if fit.reason else ''}.")


def show_comparison(targets: Sequence[TargetIn], console: Console, comparison: FitComparison) -> None:
    """Laws by what choosing them would have cost, and the best law of each target."""
    rows = (
        (law.law, number(law.objective_spearman, 3), number(law.objective_mae, 5), number(law.price, 3))
        for law in comparison.laws
        if law.skipped is None
    )
    console.print(table(("law", ">Spearman", ">MAE", ">price"), rows, "Laws on the objective, out of fold"))
    say(console, f"The objective is {objective_words(targets)}.")
    say(console, "Price: rank correlation below that of the best single law in hindsight.")
    of_targets = (
        (one.target, one.best_law or "-", number(one.spearman.get(one.best_law or ""), 3))
        for one in comparison.targets[:_MOST_TARGETS]
    )
    console.print(table(("target", "best law", ">Spearman"), of_targets, "Best law of each target"))
    if len(comparison.targets) > _MOST_TARGETS:
        say(console, f"--json has all {len(comparison.targets)} targets.")
    say(console, f"Chosen law: {comparison.chosen_law}{f': {comparison.reason}' if comparison.reason else ''}.")


def show_predictions(targets: Sequence[TargetIn], console: Console, predicted: PredictionsRead) -> None:
    """The objective of each mixture, and whether anything like it was measured."""
    rows = (
        (
            mixture(one.weights),
            number(one.objective.mean),
            f"{one.objective.low:.4f} to {one.objective.high:.4f}",
            f"{one.distance:.3f} ({one.nearest_run}{', far' if one.far else ''})",
        )
        for one in predicted.predictions
    )
    title = titled(f"Predicted objective by {predicted.law}", objective_unit(targets))
    console.print(table(("mixture", ">objective", ">90 % interval", "nearest run"), rows, title))
    say(console, f"The objective is {objective_words(targets)}; lower is better.")
    for sentence in predicted.warnings:
        say(console, f"Warning: {sentence}.")


def _show_laws(console: Console, laws: Sequence[LawFidelity]) -> None:
    transferred = any(law.transfer_spearman is not None for law in laws)
    columns = ("law", ">Spearman", ">MAE", ">R2", ">regret", ">90 % coverage", *([">largest scale"] * transferred))
    console.print(table((*columns, ">seconds"), (_law(law, transferred) for law in laws), "Out-of-fold fidelity"))
    if transferred:
        say(console, "Largest scale: Spearman there after a fit to the other scales.")
    for law in laws:
        if law.skipped is not None:
            say(console, f"Skipped {law.law}: {law.skipped}.")
        elif law.note:
            say(console, f"{law.law}: {law.note}.")


def _law(law: LawFidelity, transferred: bool) -> Sequence[str]:
    cells = [
        number(law.objective_spearman, 3),
        number(law.objective_mae, 5),
        number(law.objective_r2, 3),
        number(law.objective_regret, 5),
        number(law.coverage90, 3),
    ]
    if transferred:
        cells.append(number(law.transfer_spearman, 3))
    return (law.law, *cells, "skipped" if law.skipped is not None else number(law.fit_seconds, 1))


def _show_findings(console: Console, findings: Findings) -> None:
    if findings.noise_floor is None:
        say(console, "The noise floor is not known: no mixture was trained twice at one scale.")
    else:
        say(console, f"Noise floor: repeats differ by {number(findings.noise_floor.objective, 5)} in the objective.")
    for what, found in (("Diverged and left out", findings.diverged), ("Look at", findings.suspects)):
        if found:
            more = f", and {len(found) - _MOST_ODD} more" if len(found) > _MOST_ODD else ""
            say(console, f"{what}: {', '.join(map(_odd, found[:_MOST_ODD]))}{more}.")


def _odd(outlier: OutlierRead) -> str:
    return f"{outlier.run_id} ({outlier.target} {outlier.value:.4g})"
