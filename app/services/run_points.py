"""Points that runs measured on the way, as observations beside the ends of these runs.

A point on the way has the weights and the size of its run, and its own tokens. Points of the last attempt count, of
runs that have one mixture and know their tokens.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from jaxtyping import Float, Int
from sqlalchemy import Select, and_, func, select
from sqlalchemy.orm import Session

from app.errors import Conflict, InvalidRequest
from app.models import Measurement, Run
from app.schemas.fits import PointsUsed
from app.schemas.run_points import FALLING_RATES, is_end, point_name
from app.services.observations import loss_matrix
from mixers.types import Observations
from proxy_training.spec import ProxySettings

# Of one fit, ends included. What is held of a point while a fit is planned is its row of losses.
MOST_POINTS = 100_000
# SQLite takes a limited number of values in one statement; and only so many rows are held as JSON at a time.
_IDS_AT_ONCE, _ROWS_AT_ONCE = 10_000, 2_000
_NAMED_RUNS = 3


@dataclass(frozen=True)
class _Points:
    """Points on the way: the row of each one's run among the ends, its tokens, and what it measured."""

    of_row: Int[np.ndarray, " m"]
    tokens: Int[np.ndarray, " m"]
    losses: Float[np.ndarray, "m t"]


def with_points(session: Session, ends: Observations, field: str = "runs.points") -> Observations:
    """These runs with every point that they measured on the way, by run and tokens.

    Raises:
        InvalidRequest: the points are too many for one fit.
    """
    count = len(ends) + sum(
        session.scalar(_on_the_way(part).with_only_columns(func.count(), maintain_column_froms=True)) or 0
        for part in _parts(ends.of_run)
    )
    if count > MOST_POINTS:
        accepted = f"at most {MOST_POINTS} points: fewer runs (model_params, train_tokens, purposes, exclude)"
        accepted += f", or 'end', which takes one of each of these {len(ends)} runs"
        raise InvalidRequest.of(field, f"these runs have {count} points, ends included", accepted)
    return _joined(ends, _points(session, ends))


def points_named(session: Session, ends: Observations, names: Sequence[str]) -> Observations:
    """The observations of these names: the ends and, of their points on the way, those that are named.

    Raises:
        Conflict: a point is no more.
    """
    if len(names) == len(ends):
        return ends
    found = _joined(ends, _points(session, ends))
    row = {name: i for i, name in enumerate(found.run_ids)}
    gone = [name for name in names if name not in row]
    if gone:
        raise Conflict(
            f"{len(gone)} points of this fit are no more, {gone[0]} first: an import has replaced the trajectories of "
            "their runs since; make a new fit"
        )
    return found.rows(np.array([row[name] for name in names]))


def points_used(session: Session, runs: Observations) -> PointsUsed:
    """How many points there are, and what a reader must know about those on the way."""
    ways = np.array([not is_end(name) for name in runs.run_ids])
    settings = _settings_of(session, dict.fromkeys(np.array(runs.of_run)[ways].tolist()))
    falling: list[str] = []
    unknown: list[str] = []
    for i in np.flatnonzero(ways).tolist():
        run = runs.of_run[i]
        how = settings[run]
        if how is None:
            unknown.append(run)
        elif not how.ends_a_shorter_run(int(runs.train_tokens[i])):
            falling.append(run)
    ends = len(runs) - int(ways.sum())
    warnings = [
        f"{len(runs)} points of {ends} runs count: those of one run share its seed and its data, and tell less than "
        "as many runs"
    ]
    if falling:
        warnings.append(f"{len(falling)} points on the way of {_named(falling)} {FALLING_RATES}")
    if unknown:
        warnings.append(
            f"of {len(unknown)} points on the way of {_named(unknown)}, trained elsewhere, it is not known whether "
            "their learning rate was falling to a later end"
        )
    return PointsUsed(used=len(runs), falling_rate=len(falling), unknown_rate=len(unknown), warnings=warnings)


def _named(runs: Sequence[str]) -> str:
    names = list(dict.fromkeys(runs))
    rest = len(names) - _NAMED_RUNS
    more = f" and {rest} more" if rest > 0 else ""
    return f"{'run' if len(names) == 1 else 'runs'} {', '.join(names[:_NAMED_RUNS])}{more}"


def _points(session: Session, ends: Observations) -> _Points:
    row = {UUID(run): i for i, run in enumerate(ends.of_run)}
    of_row, tokens, losses = [], [], [np.empty((0, len(ends.targets)))]
    for part in _parts(ends.of_run):
        found = session.execute(_on_the_way(part).execution_options(yield_per=_ROWS_AT_ONCE))
        for rows in found.partitions():
            values = loss_matrix(ends.targets, [one.losses for one in rows])
            measured = np.flatnonzero(~np.isnan(values).all(axis=1)).tolist()
            of_row += [row[rows[i].run_id] for i in measured]
            tokens += [rows[i].train_tokens for i in measured]
            losses.append(values[measured])
    return _Points(np.array(of_row, dtype=np.int64), np.array(tokens, dtype=np.int64), np.concatenate(losses))


def _joined(ends: Observations, points: _Points) -> Observations:
    """Ordered by run and tokens; the end of a run comes after its points."""
    row = np.concatenate([points.of_row, np.arange(len(ends))])
    tokens = np.concatenate([points.tokens.astype(float), ends.train_tokens])
    last = np.concatenate([np.zeros(len(points.tokens), int), np.ones(len(ends), int)])
    order = np.lexsort((tokens, last, row))
    names = [
        point_name(ends.of_run[i], at) for i, at in zip(points.of_row.tolist(), points.tokens.tolist(), strict=True)
    ]
    names += ends.run_ids
    return Observations(
        ends.domains,
        ends.targets,
        ends.p[row[order]],
        np.concatenate([points.losses, ends.losses])[order],
        ends.model_params[row[order]],
        tokens[order],
        run_ids=tuple(names[i] for i in order.tolist()),
        of_run=tuple(ends.of_run[i] for i in row[order].tolist()),
    )


def _on_the_way(runs: Collection[UUID]) -> Select[*tuple[Any, ...]]:
    """Before the end: what an agent measured there is the end itself, though whole steps may not fill the tokens."""
    points = select(Measurement.run_id, Measurement.train_tokens, Measurement.losses)
    return points.join(Run, and_(Run.id == Measurement.run_id, Run.attempt == Measurement.attempt)).where(
        Run.id.in_(runs),
        Run.stages.is_(None),
        Measurement.train_tokens < Run.train_tokens,
        Measurement.train_tokens < Run.progress_tokens,
    )


def _settings_of(session: Session, runs: Collection[str]) -> dict[str, ProxySettings | None]:
    """How each run was trained; None where that was elsewhere. Equal settings are read once."""
    keys: dict[str, str | None] = {}
    for part in _parts(runs):
        for key, batch in session.execute(select(Run.id, Run.batch_key).where(Run.id.in_(part))):
            keys[str(key)] = batch
    one_of = {batch: run for run, batch in keys.items() if batch is not None}
    known: dict[str | None, ProxySettings] = {}
    for part in _parts(one_of.values()):
        rows = session.execute(select(Run.batch_key, Run.settings).where(Run.id.in_(part)))
        known |= {batch: ProxySettings.model_validate(settings) for batch, settings in rows}
    return {run: known.get(batch) for run, batch in keys.items()}


def _parts(runs: Collection[str]) -> Iterator[list[UUID]]:
    ids = [UUID(run) for run in runs]
    return (ids[start : start + _IDS_AT_ONCE] for start in range(0, len(ids), _IDS_AT_ONCE))
