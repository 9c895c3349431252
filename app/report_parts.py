"""What every offline report says of its swarm and its law."""

from __future__ import annotations

import numpy as np
from rich.console import Console

from app.formats.remarks import Remarks
from app.formats.swarm_folder import Swarm
from app.loss_units import mean_words, shared_unit, titled
from app.offline import TrustedLaw
from app.recommendation_rows import MOST_ROWS
from app.terminal import number, say
from mixers.law_report import LawReport
from mixers.problem import Problem
from mixers.types import Targets


def show_swarm(console: Console, swarm: Swarm, remarks: Remarks) -> None:
    """How much was read, and what was assumed or looks wrong."""
    runs = swarm.runs
    mixtures, scales = (int(group.max()) + 1 for group in (runs.mixture_groups, runs.scale_groups))
    say(
        console,
        f"{swarm.folder}: {_count(len(runs), 'run')} of {_count(mixtures, 'mixture')} at {_count(scales, 'scale')}, "
        f"{_count(len(runs.domains), 'domain')}, {_count(len(runs.targets), 'target')}.",
    )
    show_remarks(console, remarks)


def show_remarks(console: Console, remarks: Remarks) -> None:
    """A line for each."""
    for sentence in remarks.notes:
        say(console, f"Note: {sentence}.")
    for sentence in remarks.warnings:
        say(console, f"Warning: {sentence}.")


def show_law(console: Console, law: TrustedLaw) -> None:
    """The law that was used, why, and how it did on unseen runs."""
    report = law.report
    say(
        console,
        f"Law: {report.law}, because {law.reason}. Out of fold: Spearman {number(report.objective.spearman, 3)}, "
        f"MAE {number(report.objective.mae, 5)}, R2 {number(report.objective.r2, 3)}.",
    )


def show_shares(console: Console, report: LawReport, targets: Targets) -> None:
    """What predicts each target, of a law that is made of others."""
    if report.shares is None:
        return
    if report.shares.note:
        say(console, f"{report.law}: {report.shares.note}.")
    if len(targets) > MOST_ROWS:
        say(console, f"--json says what predicts each of the {len(targets)} targets, and why.")
        return
    for name, reason in zip(targets.names, report.shares.reasons, strict=True):
        say(console, f"  {name}: {reason}.")


def mean_of(targets: Targets, weights: np.ndarray) -> str:
    """What the weighted mean of ``targets`` is made of. ``weights`` has shape (t,)."""
    counted = weights > 0
    maximised = bool((counted & np.asarray(targets.maximised)).any())
    return mean_words([unit for unit, counts in zip(targets.units, counted, strict=True) if counts], maximised)


def unit_of_mean(targets: Targets, weights: np.ndarray) -> str:
    """The unit of the weighted mean of ``targets``; empty where they do not share one. ``weights`` has shape (t,)."""
    return shared_unit(unit for unit, weight in zip(targets.units, weights, strict=True) if weight > 0)


def titled_objective(name: str, problem: Problem) -> str:
    """``name`` with the unit of what is minimised, where that has one."""
    worst = problem.worst
    if worst is not None and worst.in_spreads:
        return f"{name} (standard deviations)"
    return titled(name, unit_of_mean(problem.targets, problem.weights))


def _count(many: int, what: str) -> str:
    return f"{many} {what}" if many == 1 else f"{many} {what}s"
