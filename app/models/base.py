"""What every table shares: aware UTC times, named constraints, JSON that keeps its order.

The tables work alike on SQLite and PostgreSQL. Identifiers are UUIDs that sort by creation (``app/ids.py``), records
without queries of their own are JSON.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, Enum, MetaData, TypeDecorator
from sqlalchemy.orm import DeclarativeBase

from app.schemas.jobs import JobState
from app.schemas.mixture_choice import MixtureChoice
from app.schemas.run_fidelity import RunFidelity
from app.schemas.runs import AttemptOutcome, RunSource, RunState
from app.schemas.schedules import FiringCause, Missed


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time. SQLite has no zones: there it is stored without one and read back as UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"the time {value} has no time zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _enum(kind: type[StrEnum]) -> Enum:
    """Stored as its text, so that a new state needs no change of a database type."""
    return Enum(kind, native_enum=False, length=20, values_callable=lambda states: [state.value for state in states])


class Base(DeclarativeBase):
    """Constraints have names that a migration can rely on."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    # JSON, not JSONB: the order of the domains inside of a mixture is kept.
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        datetime: UtcDateTime(),
        dict[str, Any]: JSON(none_as_null=True),
        list[Any]: JSON(none_as_null=True),
        AttemptOutcome: _enum(AttemptOutcome),
        RunState: _enum(RunState),
        RunSource: _enum(RunSource),
        RunFidelity: _enum(RunFidelity),
        JobState: _enum(JobState),
        MixtureChoice: _enum(MixtureChoice),
        Missed: _enum(Missed),
        FiringCause: _enum(FiringCause),
    }
