"""Gives up runs that are hopeless, by the rule in their settings (``EarlyStopping``); without a rule nothing happens.

When runs are measured, the objective of each is held against those of the newest runs of the study that have equal
settings and were measured after as many tokens: finished, in work or pruned. A percentile rule of this kind is Optuna's
``PercentilePruner``, and, with one run after the other reaching the next measurement, the asynchronous successive
halving of Li et al. (2020), *A System for Massively Parallel Hyperparameter Tuning*, algorithm 2.

Runs of a verification are neither given up nor compared with: they are few, and of mixtures that were chosen. Nor are
runs of several stages, which say little before their last one. A run
that a rule has stopped once and that a user has queued again is trained to its end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import Row, bindparam, select
from sqlalchemy.orm import Session

from app.models import Measurement, Run, RunAttempt
from app.schemas.runs import AttemptOutcome, RunState
from app.services.mixtures import targets_of
from app.services.observations import loss_matrix
from app.services.studies import find_study
from mixers.agreement import objective_values
from mixers.types import Targets
from proxy_training.spec import EarlyStopping

# A quantile of so many is known to within 1.6 % of the runs; more would hold up whoever waits to write.
_PEERS = 1000
_COMPARED = (RunState.LEASED, RunState.SUCCEEDED, RunState.PRUNED)

_ABOUT = select(
    Run.id, Run.study_id, Run.batch_key, Run.train_tokens, Run.settings, Run.recommendation_id, Run.stages
).where(Run.id.in_(bindparam("run_ids", expanding=True)))
_PRUNED_BEFORE = select(RunAttempt.run_id).where(
    RunAttempt.run_id.in_(bindparam("run_ids", expanding=True)), RunAttempt.outcome == AttemptOutcome.PRUNED
)
_MEASURED_THERE = (
    select(Run.id, Measurement.losses)
    .join(Run, (Run.id == Measurement.run_id) & (Run.attempt == Measurement.attempt))
    .where(
        Run.state.in_(_COMPARED),
        Run.batch_key == bindparam("batch_key"),
        Run.study_id == bindparam("study_id"),
        Run.recommendation_id.is_(None),
        Run.stages.is_(None),
        Measurement.train_tokens == bindparam("tokens"),
    )
    .order_by(Run.id.desc())
    .limit(bindparam("most"))
)


def why_hopeless(session: Session, tokens: int, measured: Mapping[UUID, Mapping[str, Any]]) -> dict[UUID, str]:
    """One sentence for each of the runs that its rule gives up; the caller holds their locks.

    Args:
        tokens: after how many tokens they were measured. These points are stored.
        measured: by run, ``{target: {"value", "stderr"}}``.
    """
    runs = session.connection().execute(_ABOUT, {"run_ids": list(measured)}).all()
    judged = {run.id: (run, rule) for run in runs if (rule := _rule(run, tokens)) is not None}
    if not judged:
        return {}
    for run_id in session.connection().scalars(_PRUNED_BEFORE, {"run_ids": list(judged)}).all():
        judged.pop(run_id, None)
    swarms: dict[tuple[UUID, str], _Swarm] = {}
    found = {}
    for run_id, (run, rule) in judged.items():
        key = (run.study_id, run.batch_key)
        if key not in swarms:
            swarms[key] = _swarm(session, run, tokens, max(_PEERS, rule.min_runs))
        why = _judge(swarms[key], run_id, measured[run_id], rule, tokens)
        if why is not None:
            found[run_id] = why
    return found


@dataclass(frozen=True)
class _Swarm:
    """Runs of equal settings that were measured after as many tokens, newest first.

    ``most`` is how many others a run is compared with, and one less than how many are here at most.
    """

    targets: Targets
    run_ids: Sequence[UUID]
    objectives: np.ndarray  # (n,), aligned with run_ids
    most: int


def _swarm(session: Session, run: Row, tokens: int, most: int) -> _Swarm:
    targets = targets_of(find_study(session, run.study_id).targets)
    given = {"batch_key": run.batch_key, "study_id": run.study_id, "tokens": tokens, "most": most + 1}
    rows = session.connection().execute(_MEASURED_THERE, given).all()
    return _Swarm(targets, [row.id for row in rows], _objectives(targets, [row.losses for row in rows]), most)


def _judge(swarm: _Swarm, run_id: UUID, losses: Mapping[str, Any], rule: EarlyStopping, tokens: int) -> str | None:
    """Why the run is hopeless, or None where it is not, or nothing can be said."""
    mine = float(_objectives(swarm.targets, [losses])[0])
    if np.isnan(mine):
        return None
    others = swarm.objectives[[other != run_id for other in swarm.run_ids]][: swarm.most]
    others = others[np.isfinite(others)]
    if len(others) < rule.min_runs:
        return None
    bound = float(np.quantile(others, rule.quantile))
    return _sentence(mine, bound, rule.quantile, len(others), tokens) if mine > bound else None


def _rule(run: Row, tokens: int) -> EarlyStopping | None:
    """The rule that judges a run of these settings after so many tokens."""
    told = (run.settings or {}).get("early_stopping")
    if told is None or run.recommendation_id is not None or run.stages is not None:
        return None
    rule = EarlyStopping.model_validate(told)
    return rule if rule.judges(tokens, run.train_tokens) else None


def _objectives(targets: Targets, measured: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Shape (n,): what fits predict and recommendations minimise; NaN where a target that counts is missing."""
    return objective_values(loss_matrix(targets, measured), targets.weights)


def _sentence(mine: float, bound: float, quantile: float, count: int, tokens: int) -> str:
    return (
        f"stopped early: after {tokens} tokens its objective is {mine:.6g}, worse than {bound:.6g}, the quantile "
        f"{quantile:g} of {count} other runs with equal settings"
    )
