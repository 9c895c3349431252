"""One recommendation against another, or against a baseline: what moves, what it gains, what was asked differently."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy.orm import Session, undefer

from app.demands import scale_for
from app.errors import InvalidRequest
from app.models import DomainSet, Fit, Recommendation
from app.recommendation_details import gain_document
from app.schemas.recommendations import Changed, DomainChange, GainRead, RecommendationDiff, RunsChanged
from app.schemas.run_points import is_end
from app.schemas.wishes import Constraints, Objective
from app.services.access import check_study
from app.services.domain_versions import domains_in
from app.services.fits import fitted_runs
from app.services.mixture_choice import adopted_mixture
from app.services.mixtures import vector
from app.services.predictions import fit_problem, load_law
from app.services.recommendations import find_recommendation, require_recommended
from app.services.studies import find_study
from app.services.wishes import ADOPTED
from mixers.problem import objective_of
from mixers.recommendation import gain_over, predict_mixtures

PRIOR, RECOMMENDED = "prior", "recommended"


@dataclass(frozen=True)
class _Other:
    """The mixture that is compared with, and the recommendation that it is of, if it is of one."""

    name: str
    weights: Mapping[str, float]
    row: Recommendation | None = None


def diff(session: Session, recommendation_id: UUID, against: str) -> RecommendationDiff:
    """This recommendation minus another mixture.

    Args:
        against: another recommendation of the study, ``prior``, ``adopted`` (the mixture that is), or a baseline of
            this recommendation.

    Raises:
        Conflict: one of the two has no weights.
        InvalidRequest: ``against`` is none of these.
    """
    here = find_recommendation(session, recommendation_id)
    require_recommended(here)
    other = _other(session, here, against)
    weights = here.predictions[RECOMMENDED]["weights"]
    tokens = here.constraints.get("target_tokens")
    domains = _domains(weights, other.weights, tokens, _available(session, here))
    moved = sum(abs(row.change) for row in domains) / 2
    return RecommendationDiff(
        recommendation_id=here.id,
        against=other.name,
        against_id=None if other.row is None else other.row.id,
        share_moved=moved,
        tokens_moved=None if tokens is None else moved * tokens,
        domains=domains,
        gains=_gains(session, here, other.weights),
        **_asked_differently(session, here, other.row),
    )


def _other(session: Session, here: Recommendation, against: str) -> _Other:
    name = "natural" if against == PRIOR else against
    if name in here.predictions and name != RECOMMENDED:
        return _Other(against, here.predictions[name]["weights"])
    baselines = [name for name in here.predictions if name != RECOMMENDED]
    accepted = f"the id of a recommendation of the same study, {PRIOR}, {ADOPTED}, {', '.join(baselines)}"
    if against == ADOPTED:
        adopted = adopted_mixture(session, find_study(session, here.study_id))
        if adopted is None:
            raise InvalidRequest.of("against", "the study has adopted none", accepted)
        return _Other(against, adopted[1], adopted[0])
    key = _uuid(against)
    row = None if key is None else session.get(Recommendation, key)
    if row is None or row.study_id != here.study_id:
        raise InvalidRequest.of("against", "no such recommendation or baseline", accepted)
    check_study(session, row.study_id)
    require_recommended(row)
    return _Other(against, row.predictions[RECOMMENDED]["weights"], row)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _available(session: Session, here: Recommendation) -> dict[str, int | None]:
    fit = session.get_one(Fit, here.fit_id)
    return {d.name: d.available_tokens for d in domains_in(session.get_one(DomainSet, fit.domain_set_id))}


def _domains(
    here: Mapping[str, float], there: Mapping[str, float], tokens: int | None, available: Mapping[str, int | None]
) -> list[DomainChange]:
    rows = []
    for name in dict.fromkeys((*here, *there)):
        change = here.get(name, 0.0) - there.get(name, 0.0)
        moved, supply = None if tokens is None else change * tokens, available.get(name)
        rows.append(
            DomainChange(
                domain=name,
                weight=here.get(name, 0.0),
                against=there.get(name, 0.0),
                change=change,
                tokens_moved=moved,
                epochs_change=None if moved is None or supply is None else moved / supply,
            )
        )
    return rows


def _gains(session: Session, here: Recommendation, there: Mapping[str, float]) -> GainRead | None:
    """Both mixtures under the law of this recommendation; None for domains that the law does not know."""
    fit = session.get_one(Fit, here.fit_id, options=[undefer(Fit.run_ids)])
    objective, constraints = Objective.model_validate(here.objective), Constraints.model_validate(here.constraints)
    runs = fitted_runs(session, fit)
    problem = fit_problem(session, fit, objective, constraints, scale_for(runs, here.model_params, here.train_tokens))
    names = problem.domains.names
    if not set(there) <= set(names):
        return None
    law = load_law(session, fit, here.law)
    p = np.stack([vector(here.predictions[RECOMMENDED]["weights"], names), vector(there, names)])
    ours, theirs = predict_mixtures(law, problem, p, objective_of(law, problem, runs))
    return GainRead.model_validate(gain_document(gain_over(theirs, ours), problem))


def _asked_differently(session: Session, here: Recommendation, there: Recommendation | None) -> dict[str, Any]:
    if there is None:
        return {"objective": {}, "constraints": {}, "law": None, "scale": None, "runs": None}
    scales = [{"model_params": row.model_params, "train_tokens": row.train_tokens} for row in (here, there)]
    return {
        # Read as bodies, so that a field that one of them did not know yet has its default.
        "objective": _changed(*(Objective.model_validate(row.objective).model_dump() for row in (here, there))),
        "constraints": _changed(*(Constraints.model_validate(row.constraints).model_dump() for row in (here, there))),
        "law": None if here.law == there.law else Changed(here=here.law, there=there.law),
        "scale": None if scales[0] == scales[1] else Changed(here=scales[0], there=scales[1]),
        "runs": _runs(session, here, there),
    }


def _changed(here: Mapping[str, Any], there: Mapping[str, Any]) -> dict[str, Changed]:
    return {name: Changed(here=here[name], there=there[name]) for name in here if here[name] != there[name]}


def _runs(session: Session, here: Recommendation, there: Recommendation) -> RunsChanged:
    ours, theirs = (
        set(filter(is_end, session.get_one(Fit, row.fit_id, options=[undefer(Fit.run_ids)]).run_ids))
        for row in (here, there)
    )
    return RunsChanged(
        added=len(ours - theirs), removed=len(theirs - ours), same_data=here.runs_hash == there.runs_hash
    )
