"""What a comparison of laws found, as the API and the command line show it; a figure that is not defined is null."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import SupportsFloat

from app.schemas.fits import Findings, LawFidelity, NoiseRead, OutlierRead, TargetFidelity
from mixers.fidelity import Comparison
from mixers.law_report import Agreement, LawReport
from mixers.outliers import Outlier
from mixers.types import Targets

_NAMED_OUTLIERS = 3


def law_fidelity(report: LawReport, targets: Targets) -> LawFidelity:
    """One law; a target that has no figure at all is left out."""
    if report.skipped is not None:
        return LawFidelity(law=report.law, skipped=report.skipped)
    reasons = report.shares.reasons if report.shares is not None else (None,) * len(targets)
    objective = report.objective
    return LawFidelity(
        law=report.law,
        objective_spearman=finite(objective.spearman),
        objective_pearson=finite(objective.pearson),
        objective_mae=finite(objective.mae),
        objective_relative_error=finite(objective.relative_error),
        objective_r2=finite(objective.r2),
        objective_regret=finite(objective.regret),
        objective_random_regret=finite(objective.random_regret),
        coverage90=finite(report.coverage90),
        transfer_spearman=finite(report.transfer),
        fit_seconds=finite(report.fit_seconds),
        note=report.shares.note or None if report.shares is not None else None,
        targets=[
            _target(name, agreement, reason)
            for name, agreement, reason in zip(targets.names, report.targets, reasons, strict=True)
            if math.isfinite(agreement.mae)
        ],
    )


def findings_of(comparison: Comparison, targets: Targets) -> Findings:
    """The noise between repeats, and the measurements that are far off, in the direction of each target."""
    maximised = {name for name, turned in zip(targets.names, targets.maximised, strict=True) if turned}
    diverged, suspects = (
        [_outlier(one, one.target in maximised) for one in found]
        for found in (comparison.diverged, comparison.suspects)
    )
    return Findings(noise_floor=_noise_floor(comparison, targets), diverged=diverged, suspects=suspects)


def _outlier(one: Outlier, maximised: bool) -> OutlierRead:
    sign = -1 if maximised else 1
    far = finite(sign * one.distance)
    value, tokens = sign * one.value, finite(one.train_tokens)
    return OutlierRead(run_id=one.of_run, train_tokens=tokens, target=one.target, value=value, distance=far)


def _noise_floor(comparison: Comparison, targets: Targets) -> NoiseRead | None:
    """None where no mixture was repeated."""
    noise = comparison.noise
    if not noise.known:
        return None
    rows = zip(targets.names, noise.std.tolist(), strict=True)
    return NoiseRead(objective=finite(noise.objective_std), targets={name: finite(std) for name, std in rows})


def odd_measurements(comparison: Comparison) -> list[str]:
    """Sentences that name the measurements that were left out, and those that a person should look at."""
    sentences = []
    if comparison.diverged:
        sentences.append(
            f"{_measurements(comparison.diverged)} too far off to be data and left out: {_named(comparison.diverged)}"
        )
    if comparison.suspects:
        judged = sum(report.skipped is None for report in comparison.reports)
        by = "by the law" if judged == 1 else "by every good law"
        sentences.append(
            f"{_measurements(comparison.suspects)} missed by far {by}, look at them: {_named(comparison.suspects)}"
        )
    return sentences


def finite(value: SupportsFloat) -> float | None:
    """A JSON number, or null for one that is not defined."""
    number = float(value)
    return number if math.isfinite(number) else None


def _target(name: str, agreement: Agreement, reason: str | None) -> TargetFidelity:
    return TargetFidelity(
        target=name,
        spearman=finite(agreement.spearman),
        pearson=finite(agreement.pearson),
        mae=agreement.mae,
        relative_error=finite(agreement.relative_error),
        r2=finite(agreement.r2),
        regret=finite(agreement.regret),
        random_regret=finite(agreement.random_regret),
        predicted_by=reason,
    )


def _measurements(outliers: Sequence[Outlier]) -> str:
    return "1 measurement is" if len(outliers) == 1 else f"{len(outliers)} measurements are"


def _named(outliers: Sequence[Outlier]) -> str:
    named = [f"{one.target} of run {one.run_id} = {one.value:.6g}" for one in outliers[:_NAMED_OUTLIERS]]
    rest = len(outliers) - len(named)
    return ", ".join(named) + (f" and {rest} more" if rest else "")
