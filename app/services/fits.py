"""Ask for fits and read them. The worker computes them in ``fitting.py``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session, undefer

from app.errors import Conflict, InvalidRequest, NotFound
from app.ids import new_id
from app.models import Fit, Job, LawResult
from app.schemas.common import Page
from app.schemas.fits import (
    Findings,
    FitCreate,
    FitRead,
    LawFidelity,
    OutOfFoldPoint,
    OutOfFoldRead,
    PointsUsed,
    RunFilter,
)
from app.schemas.jobs import JobState
from app.schemas.run_fidelity import RunFidelity
from app.schemas.run_points import RunPoints
from app.services.access import check_study
from app.services.events import record
from app.services.fit_runs import count_excluded, filtered
from app.services.jobs import cancel_job, new_job, require_succeeded
from app.services.observations import (
    content_hash,
    count_of_other_fidelity,
    count_staged,
    count_stranded,
    measured_runs,
    runs_of_fit,
    shown,
)
from app.services.pages import page
from app.services.run_points import points_named, points_used, with_points
from app.services.studies import find_study
from mixers.agreement import objective_values
from mixers.laws import LAWS
from mixers.recommendation import largest_scale
from mixers.types import Observations


def plan_fit(session: Session, study_id: UUID, body: FitCreate) -> Fit:
    """A fit of the runs that are measured by now, not yet queued; runs that come later do not enter it.

    Reading very many runs takes seconds, in which nobody who writes should have to wait.

    Raises:
        Conflict: no run is measured yet.
        InvalidRequest: an unknown law, a filter that no run passes, or more points than one fit takes.
    """
    study = find_study(session, study_id)
    laws = _known_laws(body.laws)
    asked = body.runs or RunFilter()
    measured = measured_runs(session, study, asked.fidelity, asked.staged)
    other = count_of_other_fidelity(session, study, asked.fidelity)
    staged = 0 if asked.staged else count_staged(session, study, asked.fidelity)
    if len(measured) == 0:
        raise Conflict(_no_run(study.id, asked.fidelity, other, staged))
    ends = measured if body.runs is None else filtered(session, study, measured, body.runs)
    every = asked.points is RunPoints.ALL
    runs = with_points(session, ends) if every else ends
    runs, unmeasured = _measured_targets(runs)
    scale = largest_scale(runs)
    return Fit(
        study_id=study.id,
        domain_set_id=study.domain_set.id,
        laws=laws,
        folds=body.folds,
        seed=body.seed,
        runs_used=len(ends),
        runs_left_out=count_stranded(session, [study]).get(study.id, 0),
        runs_excluded=count_excluded(session, study.id),
        runs_filtered=len(measured) - len(ends) + other + staged,
        points=points_used(session, runs).model_dump(mode="json") if every else None,
        run_filter=None if body.runs is None else body.runs.model_dump(mode="json"),
        targets_used=len(study.targets),
        targets_left_out=unmeasured,
        runs_hash=content_hash(runs),
        model_params=_known(float(scale.model_params)),
        train_tokens=_known(float(scale.train_tokens)),
        run_ids=list(runs.run_ids),
        results=[],
    )


def _no_run(study_id: UUID, fidelity: RunFidelity, other: int, staged: int) -> str:
    there = f"; there are {other} of the other fidelity, for a fit that asks for them in runs.fidelity" if other else ""
    if staged:
        there += f"; there are {staged} of several stages, for a fit that asks for them by runs.staged"
    asked = "" if fidelity is RunFidelity.TRAINED and not other else f" of fidelity {fidelity}"
    return (
        f"study {study_id} has no measured run{asked} that may enter a fit{there}; "
        "queue runs and wait for an agent, or report losses of runs that were trained elsewhere"
    )


def fidelity_of(fit: Fit) -> RunFidelity:
    """The fidelity of the runs that the fit was made from."""
    return RunFilter.model_validate(fit.run_filter or {}).fidelity


def _measured_targets(runs: Observations) -> tuple[Observations, list[str]]:
    """The runs with the targets that some of them measured, and the names of the others."""
    known = [j for j in range(len(runs.targets)) if np.isfinite(runs.losses[:, j]).any()]
    unmeasured = [name for j, name in enumerate(runs.targets.names) if j not in known]
    return (runs.of_targets(known) if unmeasured else runs), unmeasured


def create_fit(session: Session, planned: Fit, max_attempts: int, now: datetime) -> FitRead:
    """Queue what :func:`plan_fit` has planned."""
    planned.id, planned.created_at = new_id(now), now
    planned.job = new_job("fit", max_attempts, now)
    session.add(planned)
    what = {"runs": planned.runs_used, "laws": planned.laws}
    record(session, "fit.created", now, study_id=planned.study_id, subject_id=planned.id, data=what)
    session.commit()
    return read_fit(planned)


def _known_laws(asked: Sequence[str] | None) -> list[str]:
    if asked is None:
        return list(LAWS)
    if not asked:
        raise InvalidRequest.of("laws", "is empty", f"one or more of {', '.join(LAWS)}, or null for all")
    for i, law in enumerate(asked):
        if law not in LAWS:
            raise InvalidRequest.of(f"laws.{i}", f"there is no law {law!r}", ", ".join(LAWS))
    return list(dict.fromkeys(asked))


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def find_fit(session: Session, fit_id: UUID) -> Fit:
    """The fit with its job and the fidelity of its laws.

    Raises:
        NotFound: no fit has this identifier.
    """
    fit = session.get(Fit, fit_id)
    if fit is None:
        raise NotFound(f"there is no fit {fit_id}")
    check_study(session, fit.study_id, f"fit {fit_id}")
    return fit


def get_fit(session: Session, fit_id: UUID) -> FitRead:
    """One fit."""
    return read_fit(find_fit(session, fit_id))


def list_fits(
    session: Session,
    study_id: UUID,
    limit: int,
    cursor: str | None,
    state: JobState | None = None,
    law: str | None = None,
) -> Page[FitRead]:
    """The fits of a study, newest first; of one state or with one chosen law only when they are named."""
    find_study(session, study_id)
    rows = select(Fit).where(Fit.study_id == study_id)
    if state is not None:
        rows = rows.where(Fit.job.has(Job.state == state))
    if law is not None:
        rows = rows.where(Fit.chosen_law == law)
    return page(session, rows, Fit.id, limit, cursor, lambda fits: [read_fit(f) for f in fits], newest_first=True)


def cancel_fit(session: Session, fit_id: UUID, now: datetime) -> FitRead:
    """Take a fit back; a worker that computes it stops, and nothing of it is stored.

    Raises:
        Conflict: it has ended already.
    """
    fit = find_fit(session, fit_id)
    cancel_job(session, fit.job, now)
    session.commit()
    return read_fit(fit)


def read_fit(fit: Fit) -> FitRead:
    """A row as the API shows it."""
    return FitRead(
        id=fit.id,
        study_id=fit.study_id,
        domain_set_id=fit.domain_set_id,
        state=fit.job.state,
        progress=fit.job.progress,
        message=fit.job.message,
        laws=fit.laws,
        runs=None if fit.run_filter is None else RunFilter.model_validate(fit.run_filter),
        folds=fit.folds,
        seed=fit.seed,
        runs_used=fit.runs_used,
        points=None if fit.points is None else PointsUsed.model_validate(fit.points),
        runs_left_out=fit.runs_left_out,
        runs_excluded=fit.runs_excluded,
        runs_filtered=fit.runs_filtered,
        targets_left_out=fit.targets_left_out or [],
        runs_hash=fit.runs_hash,
        chosen_law=fit.chosen_law,
        reason=fit.reason,
        fidelity=[LawFidelity.model_validate(result.fidelity) for result in fit.results],
        findings=None if fit.findings is None else Findings.model_validate(fit.findings),
        error=fit.job.error,
        created_at=fit.created_at,
        finished_at=fit.job.finished_at,
    )


def require_finished(fit: Fit) -> None:
    """Refuse a fit that has no laws.

    Raises:
        Conflict: saying how far it is or why it failed.
    """
    require_succeeded(fit.job, f"fit {fit.id}")


def law_of(fit: Fit, asked: str | None) -> str:
    """The law to predict with: the one asked for, or the chosen one.

    Raises:
        Conflict: the fit is not finished.
        InvalidRequest: the fit does not hold the law.
    """
    require_finished(fit)
    usable = [result.law for result in fit.results if result.fidelity.get("skipped") is None]
    law = fit.chosen_law if asked is None else asked
    if law is None or law not in usable:
        raise InvalidRequest.of("law", f"fit {fit.id} holds no law {law!r}", ", ".join(usable))
    return law


def fitted_runs(session: Session, fit: Fit) -> Observations:
    """The observations that the fit was made from.

    Raises:
        Conflict: points of its runs are no more.
    """
    study = find_study(session, fit.study_id)
    return points_named(session, runs_of_fit(session, study, fit), fit.run_ids)


def about_points(fit: Fit) -> list[str]:
    """What a reader of a fit must know about the points in it; nothing where each run counts by its end alone."""
    return [] if fit.points is None else list(fit.points["warnings"])


def get_out_of_fold(session: Session, fit_id: UUID, law: str | None, target: str | None) -> OutOfFoldRead:
    """Observed and predicted values of the runs, each predicted by a law that had not seen it.

    Raises:
        InvalidRequest: a law or target that the fit does not hold.
    """
    fit = find_fit(session, fit_id)
    law = law_of(fit, law)
    result = session.get_one(LawResult, (fit.id, law), options=[undefer(LawResult.out_of_fold)], populate_existing=True)
    runs = fitted_runs(session, fit)
    observed, predicted = runs.losses, np.array((result.out_of_fold or {})["mean"], dtype=float)
    if target is None:
        observed, predicted = (objective_values(losses, runs.targets.weights) for losses in (observed, predicted))
    else:
        if target not in runs.targets.names:
            raise InvalidRequest.of("target", f"there is no target {target!r}", ", ".join(runs.targets.names[:20]))
        j = runs.targets.names.index(target)
        observed, predicted = shown(observed, runs.targets)[:, j], shown(predicted, runs.targets)[:, j]
    points = [
        OutOfFoldPoint(run_id=run_id, train_tokens=_known(tokens), observed=y, predicted=y_hat)
        for run_id, tokens, y, y_hat in zip(
            runs.of_run, runs.train_tokens.tolist(), observed.tolist(), predicted.tolist(), strict=True
        )
        if math.isfinite(y) and math.isfinite(y_hat)
    ]
    return OutOfFoldRead(fit_id=fit.id, law=law, target=target, points=points)
