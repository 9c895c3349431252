"""A finished fit as a table of laws by targets, with what choosing each law costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.orm import Session

from app.models import Fit
from app.schemas.fits import Findings, FitComparison, LawFidelity, LawVerdict, TargetVerdicts
from app.services.fits import find_fit, require_finished
from mixers.laws import LAWS, Combination


def get_comparison(session: Session, fit_id: UUID) -> FitComparison:
    """The laws of a fit side by side.

    Raises:
        Conflict: the fit is not finished.
    """
    fit = find_fit(session, fit_id)
    require_finished(fit)
    return compare_laws(fit)


def compare_laws(fit: Fit) -> FitComparison:
    """The stored fidelity turned around: by target, and against the best single law in hindsight."""
    laws = [LawFidelity.model_validate(result.fidelity) for result in fit.results]
    ranks = [law.objective_spearman for law in laws if not _combined(law.law) and law.objective_spearman is not None]
    best = max(ranks, default=None)
    judged = [law for law in laws if law.skipped is None]
    targets = list(dict.fromkeys(target.target for law in judged for target in law.targets))
    return FitComparison(
        fit_id=fit.id,
        chosen_law=fit.chosen_law or "",
        reason=fit.reason,
        laws=sorted((_verdict(law, best) for law in laws), key=_from_best),
        targets=[_by_law(target, judged) for target in targets],
        findings=None if fit.findings is None else Findings.model_validate(fit.findings),
    )


def _combined(law: str) -> bool:
    return isinstance(LAWS.get(law), Combination)


def _verdict(law: LawFidelity, best: float | None) -> LawVerdict:
    rank = law.objective_spearman
    return LawVerdict(
        law=law.law,
        skipped=law.skipped,
        combined=_combined(law.law),
        objective_spearman=rank,
        objective_mae=law.objective_mae,
        transfer_spearman=law.transfer_spearman,
        coverage90=law.coverage90,
        fit_seconds=law.fit_seconds,
        price=None if rank is None or best is None else best - rank,
    )


def _from_best(law: LawVerdict) -> tuple[bool, float, float]:
    rank = -2.0 if law.objective_spearman is None else law.objective_spearman
    return law.skipped is not None, -rank, math.inf if law.objective_mae is None else law.objective_mae


def _by_law(target: str, judged: Sequence[LawFidelity]) -> TargetVerdicts:
    rows = {law.law: row for law in judged for row in law.targets if row.target == target}
    ranked = {name: row.spearman for name, row in rows.items() if row.spearman is not None}
    return TargetVerdicts(
        target=target,
        best_law=max(ranked, key=lambda name: ranked[name], default=None),
        spearman={name: row.spearman for name, row in rows.items()},
        mae={name: row.mae for name, row in rows.items()},
    )
