"""Gives up runs that are hopeless, by the rule in their settings (``EarlyStopping``); without a rule nothing happens.

When a run is measured, its objective is held against those of the newest runs of the study that have equal settings
and were measured after as many tokens: finished, in work or pruned. A percentile rule of this kind is Optuna's
``PercentilePruner``, and, with one run after the other reaching the next measurement, the asynchronous successive
halving of Li et al. (2020), *A System for Massively Parallel Hyperparameter Tuning*, algorithm 2.

Runs of a verification are neither given up nor compared with: they are few, and of mixtures that were chosen. A run
that a rule has stopped once and that a user has queued again is trained to its end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import Row, bindparam, select
from sqlalchemy.orm import Session

from app.models import Measurement, Run, RunAttempt
from app.schemas.runs import AttemptOutcome, RunState
from app.services.mixtures import targets_of
from app.services.observations import loss_matrix
from app.services.run_changes import prune
from app.services.studies import find_study
from mixers.agreement import objective_values
from mixers.types import Targets
from proxy_training.spec import EarlyStopping

# A quantile of so many is known to within 1.6 % of the runs; more would hold up whoever waits to write.
_PEERS = 1000
_COMPARED = (RunState.LEASED, RunState.SUCCEEDED, RunState.PRUNED)

_ABOUT = select(Run.study_id, Run.batch_key, Run.train_tokens, Run.settings, Run.recommendation_id, Run.attempt).where(
    Run.id == bindparam("run_id")
)
_PRUNED_BEFORE = (
    select(RunAttempt.attempt)
    .where(RunAttempt.run_id == bindparam("run_id"), RunAttempt.outcome == AttemptOutcome.PRUNED)
    .limit(1)
)
_MEASURED_THERE = (
    select(Measurement.losses)
    .join(Run, (Run.id == Measurement.run_id) & (Run.attempt == Measurement.attempt))
    .where(
        Run.state.in_(_COMPARED),
        Run.batch_key == bindparam("batch_key"),
        Run.study_id == bindparam("study_id"),
        Run.recommendation_id.is_(None),
        Run.id != bindparam("run_id"),
        Measurement.train_tokens == bindparam("tokens"),
    )
    .order_by(Run.id.desc())
    .limit(bindparam("most"))
)


def stop_if_hopeless(session: Session, run_id: UUID, tokens: int, losses: Mapping[str, Any], now: datetime) -> None:
    """Prune the run if its rule says so; the caller holds its lock and commits.

    Args:
        tokens: the token count of the point that was just stored.
        losses: ``{target: {"value", "stderr"}}`` at that point.
    """
    run = session.connection().execute(_ABOUT, {"run_id": run_id}).one()
    rule = _rule(run, tokens)
    if rule is None or session.connection().scalar(_PRUNED_BEFORE, {"run_id": run_id}) is not None:
        return
    targets = targets_of(find_study(session, run.study_id).targets)
    mine = float(_objectives(targets, [losses])[0])
    if np.isnan(mine):
        return
    given = {"run_id": run_id, "batch_key": run.batch_key, "study_id": run.study_id, "tokens": tokens}
    most = max(_PEERS, rule.min_runs)
    others = _objectives(targets, session.connection().scalars(_MEASURED_THERE, given | {"most": most}).all())
    others = others[np.isfinite(others)]
    if len(others) < rule.min_runs:
        return
    bound = float(np.quantile(others, rule.quantile))
    if mine > bound:
        prune(session, run_id, _sentence(mine, bound, rule.quantile, len(others), tokens), now)


def _rule(run: Row, tokens: int) -> EarlyStopping | None:
    """The rule that judges a run of these settings after so many tokens. At the end there is nothing left to save."""
    told = (run.settings or {}).get("early_stopping")
    if told is None or run.recommendation_id is not None or tokens >= run.train_tokens:
        return None
    rule = EarlyStopping.model_validate(told)
    return rule if tokens >= rule.after_fraction * run.train_tokens else None


def _objectives(targets: Targets, measured: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Shape (n,): what fits predict and recommendations minimise; NaN where a target that counts is missing."""
    return objective_values(loss_matrix(targets, measured), targets.weights)


def _sentence(mine: float, bound: float, quantile: float, count: int, tokens: int) -> str:
    return (
        f"stopped early: after {tokens} tokens its objective is {mine:.6g}, worse than {bound:.6g}, the quantile "
        f"{quantile:g} of {count} other runs with equal settings"
    )
