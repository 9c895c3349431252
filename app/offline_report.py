"""Reports of ``compare`` and ``predict`` as tables and sentences for people.

The objective is the weighted mean of the targets as losses (a target to be maximised enters negated), so lower is
better. A single target is shown in its own direction. Intervals are 90 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from app.formats.swarm_folder import Swarm
from app.offline import Answers, TrustedLaw, odd_runs
from app.report_parts import mean_of, show_law, show_shares, show_swarm
from app.terminal import number, say
from mixers.fidelity import Comparison
from mixers.learning_curve import CurvePoint


def show_comparison(console: Console, swarm: Swarm, comparison: Comparison) -> None:
    """One table: a law a row, out of fold; under it why laws were skipped, and which one was chosen."""
    show_swarm(console, swarm, swarm.remarks + odd_runs(comparison))
    targets = swarm.runs.targets
    console.print(_fidelity_table(comparison))
    say(
        console,
        f"All but the coverage are of the objective, {mean_of(targets, targets.weights)}, inside of each scale; regret "
        "is the loss of the run that a law ranks first above the best run. --json has each target.",
    )
    say(console, _noise_sentence(comparison))
    for report in comparison.reports:
        if report.skipped is not None:
            say(console, f"Skipped {report.law}: {report.skipped}.")
        elif report.shares is not None and report.law == "auto":
            show_shares(console, report, targets)
            say(console, f"Price of the choice: {comparison.price_of(report)}.")
    say(console, f"Chosen law: {comparison.choice}: {comparison.reason}.")


def show_learning_curve(console: Console, law: str, points: Sequence[CurvePoint]) -> None:
    """Fidelity against the number of mixtures."""
    table = Table("mixtures", title=f"Learning curve of {law}", title_justify="left")
    for column in ("Spearman", "+-", "MAE"):
        table.add_column(column, justify="right")
    for point in points:
        table.add_row(
            str(point.mixtures), number(point.spearman, 3), number(point.spearman_std, 3), number(point.mae, 5)
        )
    console.print(table)
    for point in points:
        if point.problem is not None:
            say(console, f"{point.mixtures} mixtures: {point.problem}.")


def _fidelity_table(comparison: Comparison) -> Table:
    transferred = any(math.isfinite(report.transfer) for report in comparison.reports)
    table = Table("law", title="Out-of-fold fidelity", title_justify="left")
    headings = ("Spearman", "MAE", "R2", "regret", "90 % coverage", *(["largest scale"] * transferred), "seconds")
    for column in headings:
        table.add_column(column, justify="right")
    for report in comparison.reports:
        objective = report.objective
        cells = [
            number(objective.spearman, 3),
            number(objective.mae, 5),
            number(objective.r2, 3),
            number(objective.regret, 5),
            number(report.coverage90, 3),
        ]
        if transferred:
            cells.append(number(report.transfer, 3))
        seconds = "skipped" if report.skipped is not None else number(report.fit_seconds, 1)
        table.add_row(report.law, *cells, seconds)
    if transferred:
        table.caption = "largest scale: Spearman there after a fit to the other scales"
    return table


def _noise_sentence(comparison: Comparison) -> str:
    noise = comparison.noise
    if not noise.known:
        return "The noise floor is not known: no mixture was trained twice at one scale. Repeat a few with other seeds."
    return (
        f"Noise floor: repeats of one mixture differ by {number(noise.objective_std, 5)} in the objective (standard "
        f"deviation, {int(noise.freedom.max())} degrees of freedom); no law can do better."
    )


def show_predictions(console: Console, swarm: Swarm, law: TrustedLaw, answers: Answers, out: str) -> None:
    """What was written, by which law."""
    show_swarm(console, swarm, swarm.remarks + law.remarks + answers.remarks)
    show_law(console, law)
    say(console, f"Wrote {len(answers.run_ids)} predictions of {len(swarm.runs.targets)} targets to {out}.")
