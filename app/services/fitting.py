"""What the worker does for a fit: compare the laws out of fold, fit each on all runs, store everything at once."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db import Database
from app.fidelity_answers import findings_of, law_fidelity, odd_measurements
from app.law_choice import distrust, trusted_report
from app.models import Fit, LawResult
from app.schemas.run_fidelity import ABOUT_MERGED, RunFidelity
from app.services.fits import about_points, fidelity_of, fitted_runs
from app.services.observations import count_staged_of_fit
from app.services.stages import about_staged_runs
from mixers.fidelity import compare, fit_calibrated
from mixers.law_report import LawReport
from mixers.types import Observations

OnProgress = Callable[[float, str], None]
Store = Callable[[Session], None]

# Comparing fits every law once a fold; the last fit on all runs is the rest.
_SHARE_OF_COMPARING = 0.85


def run_fit(database: Database, job_id: UUID, on_progress: OnProgress) -> Store:
    """Compute the fit of a job. What it returns stores the results; until then nothing is written.

    Raises:
        MixError: no law can be fitted to these runs.
    """
    with database.read() as session:
        fit = session.scalars(select(Fit).where(Fit.job_id == job_id)).one()
        runs = fitted_runs(session, fit)
        staged = count_staged_of_fit(session, fit)
    comparison = compare(
        runs,
        fit.laws,
        np.random.default_rng(fit.seed),
        folds=fit.folds,
        on_progress=lambda done, what: on_progress(done * _SHARE_OF_COMPARING, what),
    )
    results = []
    for i, report in enumerate(comparison.reports):
        done = _SHARE_OF_COMPARING + (1 - _SHARE_OF_COMPARING) * i / len(comparison.reports)
        on_progress(done, f"fitting {report.law} to all runs")
        results.append(_law_result(fit, i, report, comparison.runs))
    chosen, reason = trusted_report(comparison)
    remarks = odd_measurements(comparison)
    if reason != comparison.reason and (sentence := distrust(chosen)) is not None:  # the comparison's own says it
        remarks = [sentence, *remarks]
    if fidelity_of(fit) is RunFidelity.MERGED:
        remarks = [ABOUT_MERGED, *remarks]
    remarks = [*about_staged_runs(staged, fit.runs_used), *about_points(fit), *remarks]

    def store(session: Session) -> None:
        row = session.get_one(Fit, fit.id)
        row.chosen_law = chosen.law
        row.reason = "; ".join([reason, *remarks])
        row.findings = findings_of(comparison, runs.targets).model_dump(mode="json")
        session.add_all(results)

    return store


def _law_result(fit: Fit, position: int, report: LawReport, runs: Observations) -> LawResult:
    # Each law with a generator of its own: it is then the law that the command line fits to these runs.
    rng = np.random.default_rng(fit.seed)
    fitted = fit_calibrated(report, runs, rng).to_dict() if report.skipped is None else None
    out_of_fold = report.out_of_fold
    return LawResult(
        fit_id=fit.id,
        law=report.law,
        position=position,
        fidelity=law_fidelity(report, runs.targets).model_dump(mode="json"),
        out_of_fold=None
        if out_of_fold is None
        else {"mean": out_of_fold.mean.tolist(), "std": out_of_fold.std.tolist()},
        fitted=fitted,
    )
