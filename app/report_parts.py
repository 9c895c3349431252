"""What every offline report says of its swarm and its law, and how it writes sentences and numbers."""

from __future__ import annotations

import math

from rich.console import Console

from app.formats.remarks import Remarks
from app.formats.swarm_folder import Swarm
from app.offline import TrustedLaw
from app.recommendation_rows import MOST_ROWS
from mixers.law_report import LawReport
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
    for sentence in remarks.notes:
        say(console, f"Note: {sentence}.")
    for sentence in remarks.warnings:
        say(console, f"Warning: {sentence}.")


def show_law(console: Console, law: TrustedLaw) -> None:
    """The law that was used, why, and how it did on unseen runs."""
    report = law.report
    say(
        console,
        f"Law: {report.law}, because {law.reason}. Out of fold: Spearman {shown(report.objective.spearman, 3)}, "
        f"MAE {shown(report.objective.mae, 5)}, R2 {shown(report.objective.r2, 3)}.",
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


def say(console: Console, sentence: str) -> None:
    """A sentence as one line: whoever shows it breaks it."""
    console.print(sentence, soft_wrap=True)


def shown(value: float | None, digits: int) -> str:
    """A number, or a dash where it is not defined."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
