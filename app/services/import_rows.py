"""Checked runs of an import against the rows that a study has, and their way into the table.

A run is known again by its id in the source. One that is stored with the same values is left alone; one with other
values is left alone too, unless the import may replace it.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, Dialect, Row, Select, TypeDecorator, bindparam, delete, insert, select, update
from sqlalchemy.orm import Session

from app.ids import new_ids
from app.models import Measurement, Run, Study
from app.schemas.runs import RunSource, RunState
from app.services.domain_versions import carried_names
from app.services.import_check import Checked

# SQLite takes a limited number of values in one statement; and only so many rows are held as JSON at a time.
_AT_ONCE = 5_000
_COLUMNS = (
    Run.id,
    Run.external_id,
    Run.state,
    Run.domain_set_id,
    Run.weights,
    Run.stages,
    Run.losses,
    Run.model_params,
    Run.train_tokens,
    Run.seed,
    Run.fidelity,
    Run.attempt,
)
# JSON keeps floats exactly; a source that was written with fewer digits still tells the same run.
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Change:
    """A stored run and what the source tells of it now. ``losses`` are those it gets."""

    run_id: UUID
    attempt: int
    run: Checked
    losses: dict[str, Any]
    before: dict[str, Any]


@dataclass
class Comparison:
    """What each checked run is to the study."""

    new: list[Checked] = field(default_factory=list)
    same: set[str] = field(default_factory=set)
    differing: list[Change] = field(default_factory=list)
    more_measured: list[Change] = field(default_factory=list)
    # Runs that the study has and that have not succeeded, with their state; measurements of runs that it lacks.
    homeless: list[tuple[str, RunState | None]] = field(default_factory=list)


def compare(session: Session, study: Study, axes: Axes, runs: Sequence[Checked]) -> Comparison:
    """Look every run up by its id in the source; measurements without weights by our own id too."""
    found = Comparison()
    carried = carried_names(study, study.domain_set)
    for start in range(0, len(runs), _AT_ONCE):
        part = runs[start : start + _AT_ONCE]
        stored = _stored(session, study.id, part)
        points = _stored_points(session, [row for run in part if run.points and (row := stored.get(run.external_id))])
        for run in part:
            row = stored.get(run.external_id)
            if run.weights is None:
                _compare_measurements(found, axes, run, row)
            elif row is None:
                found.new.append(run)
            elif row.state is not RunState.SUCCEEDED:
                # Its agent would go on to train what the row said before.
                found.homeless.append((run.external_id, row.state))
            else:
                change = Change(row.id, row.attempt, run, axes.losses(run), _before(row))
                have = points.get(row.id, {})
                if not _is_same(axes, run, row, carried.get(row.domain_set_id, {})):
                    found.differing.append(change)
                elif not run.points or _same_points(axes, run, have):
                    found.same.add(run.external_id)
                else:  # a trajectory that the study lacks is more of the same run
                    (found.differing if have else found.more_measured).append(change)
    return found


@dataclass(frozen=True)
class Axes:
    """The domains and targets that checked runs are arrays along."""

    domains: tuple[str, ...]
    targets: tuple[str, ...]

    def weights(self, run: Checked) -> dict[str, float]:
        assert run.weights is not None
        return dict(zip(self.domains, run.weights, strict=True))

    def stages(self, run: Checked) -> list[dict[str, Any]] | None:
        """The stages as rows hold them; None where the weights do not change."""
        return [
            {
                "from_token": stage.from_token,
                "to_token": stage.to_token,
                "weights": dict(zip(self.domains, stage.weights, strict=True)),
            }
            for stage in run.stages
        ] or None

    def losses(self, run: Checked) -> dict[str, Any]:
        """``{target: {"value", "stderr"}}`` of what was measured."""
        return self.measured(run.values, run.stderrs)

    def points(self, run: Checked) -> dict[int, dict[str, Any]]:
        """:meth:`losses` of each point of its trajectory, by tokens."""
        return {point.train_tokens: self.measured(point.values, point.stderrs) for point in run.points}

    def measured(self, values: Sequence[float], errors: Sequence[float] | None) -> dict[str, Any]:
        """``{target: {"value", "stderr"}}`` of values along the targets."""
        stderrs: Iterable[float] = errors if errors is not None else [math.nan] * len(self.targets)
        return {
            name: {"value": value, "stderr": None if stderr != stderr else stderr}
            for name, value, stderr in zip(self.targets, values, stderrs, strict=True)
            if value == value
        }


@dataclass(frozen=True, slots=True)
class Packed:
    """The JSON of a new run, as the table holds it."""

    weights: str
    losses: str


def pack(axes: Axes, runs: Sequence[Checked]) -> dict[str, Packed]:
    """Write the JSON of new runs ahead: it is half of the work of storing them, and needs no transaction."""
    return {
        run.external_id: Packed(json.dumps(axes.weights(run)), json.dumps(axes.losses(run)))
        for run in runs
        if run.weights is not None
    }


class _Written(TypeDecorator[str]):
    """JSON that is text already."""

    impl = JSON
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> None:
        del dialect


def store(
    session: Session,
    study: Study,
    axes: Axes,
    runs: Sequence[Checked],
    packed: Mapping[str, Packed],
    import_id: UUID,
    now: datetime,
) -> None:
    """Insert new runs with their trajectories."""
    written = {name: bindparam(name, type_=_Written()) for name in ("weights", "losses")}
    statement = insert(Run.__table__).values(written)  # type: ignore[arg-type]  # a table, whose type is wider
    keys = iter(new_ids(len(runs), now))
    for start in range(0, len(runs), _AT_ONCE):
        rows = [
            _row(next(keys), study, run, packed[run.external_id], axes.stages(run), import_id, now)
            for run in runs[start : start + _AT_ONCE]
        ]
        session.execute(statement, rows)
        part = runs[start : start + _AT_ONCE]
        _store_points(session, axes, [(row["id"], row["attempt"], run) for row, run in zip(rows, part, strict=True)])


def _store_points(session: Session, axes: Axes, runs: Iterable[tuple[UUID, int, Checked]]) -> None:
    rows = [
        {"run_id": key, "attempt": attempt, "train_tokens": tokens, "losses": losses}
        for key, attempt, run in runs
        for tokens, losses in axes.points(run).items()
    ]
    if rows:
        session.execute(insert(Measurement), rows)


def replace(session: Session, study: Study, axes: Axes, changes: Sequence[Change], import_id: UUID) -> None:
    """Give stored runs the values of the source; weights only where the source tells them."""
    for change in changes:
        run = change.run
        values: dict[str, Any] = {"losses": change.losses, "import_id": import_id}
        if run.weights is not None:
            values |= {
                "domain_set_id": study.domain_set.id,
                "weights": axes.weights(run),
                "stages": axes.stages(run),
                "model_params": run.model_params,
                "train_tokens": run.train_tokens,
                "progress_tokens": run.train_tokens or 0,
                "seed": run.seed,
                "fidelity": run.fidelity,
            }
        session.execute(update(Run).where(Run.id == change.run_id).values(values), execution_options=_PLAIN)
        if run.points:
            old = (Measurement.run_id == change.run_id, Measurement.attempt == change.attempt)
            session.execute(delete(Measurement).where(*old), execution_options=_PLAIN)
            _store_points(session, axes, [(change.run_id, change.attempt, run)])


# No object of these rows is loaded in the session, so none has to be looked for.
_PLAIN = {"synchronize_session": False}


def _row(
    key: UUID,
    study: Study,
    run: Checked,
    packed: Packed,
    stages: list[dict[str, Any]] | None,
    import_id: UUID,
    now: datetime,
) -> dict[str, Any]:
    return {
        "id": key,
        "study_id": study.id,
        "domain_set_id": study.domain_set.id,
        "label": run.label,
        "purpose": "swarm",
        "state": RunState.SUCCEEDED,
        "source": RunSource.IMPORTED,
        "fidelity": run.fidelity,
        "exclude_from_fit": False,
        "weights": packed.weights,
        "stages": stages,
        "seed": run.seed,
        "model_params": run.model_params,
        "train_tokens": run.train_tokens,
        "queue_rank": 0,
        "attempt": 0,
        "max_attempts": 1,
        "progress_tokens": run.train_tokens or 0,
        "losses": packed.losses,
        "external_id": run.external_id,
        "import_id": import_id,
        "created_at": now,
        "finished_at": now,
    }


def _stored(session: Session, study_id: UUID, runs: Sequence[Checked]) -> dict[str, Row[Any]]:
    rows: Select[*tuple[Any, ...]] = select(*_COLUMNS).where(Run.study_id == study_id)
    ids = [run.external_id for run in runs]
    stored: dict[str, Row[Any]] = {}
    for row in session.execute(rows.where(Run.external_id.in_(ids))):
        stored[row.external_id] = row
    ours = {
        key: run.external_id
        for run in runs
        if run.weights is None and run.external_id not in stored and (key := _own_id(run.external_id))
    }
    if ours:
        for row in session.execute(rows.where(Run.id.in_(list(ours)))):
            stored[ours[row.id]] = row
    return stored


def _stored_points(session: Session, rows: Sequence[Row[Any]]) -> dict[UUID, dict[int, dict[str, Any]]]:
    """The trajectories of the last attempts of these runs: losses by tokens."""
    attempts = {row.id: row.attempt for row in rows}
    found: dict[UUID, dict[int, dict[str, Any]]] = {}
    if attempts:
        for point in session.scalars(select(Measurement).where(Measurement.run_id.in_(list(attempts)))):
            if point.attempt == attempts[point.run_id]:
                found.setdefault(point.run_id, {})[point.train_tokens] = point.losses
    return found


def _same_points(axes: Axes, run: Checked, have: Mapping[int, Mapping[str, Any]]) -> bool:
    told = axes.points(run)
    return told.keys() == have.keys() and all(
        told[tokens].keys() == have[tokens].keys()
        and all(_close(told[tokens][name]["value"], have[tokens][name]["value"]) for name in told[tokens])
        for tokens in told
    )


def _own_id(text: str) -> UUID | None:
    try:
        return UUID(text) if len(text) == 36 else None
    except ValueError:
        return None


def _compare_measurements(found: Comparison, axes: Axes, run: Checked, row: Row[Any] | None) -> None:
    if row is None or row.state is not RunState.SUCCEEDED:
        found.homeless.append((run.external_id, None if row is None else row.state))
        return
    told, have = axes.losses(run), row.losses or {}
    change = Change(row.id, row.attempt, run, {**have, **told}, _before(row))
    if any(name in have and not _close(have[name]["value"], value["value"]) for name, value in told.items()):
        found.differing.append(change)
    elif told.keys() <= have.keys():
        found.same.add(run.external_id)
    else:
        found.more_measured.append(change)


def _before(row: Row[Any]) -> dict[str, Any]:
    return {"weights": row.weights, "stages": row.stages, "losses": row.losses}


def _is_same(axes: Axes, run: Checked, row: Row[Any], names: Mapping[str, str]) -> bool:
    if (run.model_params, run.train_tokens, run.seed) != (row.model_params, row.train_tokens, row.seed):
        return False
    if run.fidelity is not row.fidelity:
        return False
    weights = {names.get(name, name): weight for name, weight in row.weights.items()}
    if weights.keys() - set(axes.domains):
        return False
    if not _same_stages(axes, run, row.stages or (), names):
        return False
    losses = row.losses or {}
    stored = array("d", [weights.get(name, 0.0) for name in axes.domains])
    values = array("d", [losses[name]["value"] if name in losses else math.nan for name in axes.targets])
    return _all_close(run.weights or (), stored) and _all_close(run.values, values)


def _same_stages(axes: Axes, run: Checked, have: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> bool:
    ends = [(stage["from_token"], stage["to_token"]) for stage in have]
    if ends != [(stage.from_token, stage.to_token) for stage in run.stages]:
        return False
    for told, stage in zip(run.stages, have, strict=True):
        weights = {names.get(name, name): weight for name, weight in stage["weights"].items()}
        if not _all_close(told.weights, [weights.get(name, 0.0) for name in axes.domains]):
            return False
    return True


def _all_close(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(map(_close, one, other))


def _close(a: float, b: float) -> bool:
    return a == b or (a != a and b != b) or math.isclose(a, b, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
