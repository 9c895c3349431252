"""What every offline report says of its swarm and its law."""

from __future__ import annotations

from rich.console import Console

from app.formats.remarks import Remarks
from app.formats.swarm_folder import Swarm
from app.offline import TrustedLaw
from app.recommendation_rows import MOST_ROWS
from app.terminal import number, say
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


def _count(many: int, what: str) -> str:
    return f"{many} {what}" if many == 1 else f"{many} {what}s"
