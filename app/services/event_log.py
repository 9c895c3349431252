"""Reads what happened, in an order in which no event ever appears behind a reader.

On PostgreSQL transactions commit in another order than they take their numbers. A reader that follows therefore stops
before the oldest transaction that is still open: every event before it is there or will never be. SQLite's writers take
turns; there the order of ``seq`` is that of the commits.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, delete, func, literal, select, tuple_
from sqlalchemy.orm import Session

from app.errors import InvalidRequest
from app.models import Event
from app.principal import Principal, Scope
from app.schemas.common import Page
from app.schemas.events import EventFilter, EventQuery, EventRead
from app.services.access import caller
from app.services.studies import find_study

# What is told of keys and logins is for those who manage them.
_OF_KEYS = ("key.", "login.")
_KEY = re.compile(r"(\d{1,19})-(\d{1,19})")
_LARGEST = 2**63 - 1


class Place(NamedTuple):
    """Where a reader stands: everything up to here is behind it."""

    transaction: int
    seq: int

    def __str__(self) -> str:
        return f"{self.transaction}-{self.seq}"


class View(NamedTuple):
    """The events that one reader gets: of one study, or of all that its key may see."""

    study_id: UUID | None
    sees_keys: bool
    kind: str | None = None

    def shows(self, event: EventRead) -> bool:
        """Whether the event belongs to it."""
        return (
            (self.study_id is None or event.study_id == self.study_id)
            and (self.sees_keys or not event.kind.startswith(_OF_KEYS))
            and (self.kind is None or event.kind.startswith(self.kind))
        )

    @property
    def conditions(self) -> list[ColumnElement[bool]]:
        """The same in SQL."""
        found: list[ColumnElement[bool]] = []
        if self.study_id is not None:
            found.append(Event.study_id == self.study_id)
        if not self.sees_keys:
            found += [~_starts(prefix) for prefix in _OF_KEYS]
        if self.kind:
            found.append(_starts(self.kind))
        return found


def view_of(session: Session, study_id: UUID | None, kind: str | None = None) -> View:
    """What the caller of this session may read.

    Raises:
        NotFound: no such study, or not for this key.
    """
    who: Principal = caller(session)
    if study_id is not None:
        find_study(session, study_id)
    return View(study_id or who.study_id, who.may(Scope.ADMIN), kind)


def list_events(session: Session, study_id: UUID | None, query: EventQuery) -> Page[EventRead]:
    """A page of events of one study, or of everything that the caller may see.

    Raises:
        NotFound: no such study, or not for this key.
        InvalidRequest: a cursor that no page gave.
    """
    rows = select(Event).where(*view_of(session, study_id, query.kind).conditions, *_conditions(query))
    newest = query.order == "newest"
    if query.cursor is not None:
        here = parse_place(query.cursor, "cursor", "the next_cursor of the page before")
        rows = rows.where(_before(here) if newest else _after(here))
    if not newest:
        rows = rows.where(~_after(present_end(session)))
    order = (Event.transaction.desc(), Event.seq.desc()) if newest else (Event.transaction, Event.seq)
    found = session.scalars(rows.order_by(*order).limit(query.limit + 1)).all()
    kept = [read_event(event) for event in found[: query.limit]]
    return Page(items=kept, next_cursor=kept[-1].key if len(found) > query.limit else None)


def _conditions(query: EventFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if query.subject_id is not None:
        found.append(Event.subject_id == query.subject_id)
    if query.actor is not None:
        found.append(Event.actor == query.actor)
    if query.since is not None:
        found.append(Event.at >= query.since)
    return found


def read_after(session: Session, here: Place, view: View, limit: int) -> tuple[list[EventRead], Place]:
    """The next events of ``view`` and where the reader stands then: at the last of them, or at the present end."""
    end = present_end(session)
    rows = select(Event).where(_after(here), ~_after(end), *view.conditions)
    found = session.scalars(rows.order_by(Event.transaction, Event.seq).limit(limit)).all()
    events = [read_event(event) for event in found]
    reached = place_of(events[-1]) if len(events) == limit else end
    return events, max(here, reached)


def present_end(session: Session) -> Place:
    """Where a reader stands that has read everything that is settled by now."""
    if _on_postgres(session):
        oldest_open = session.scalar(select(func.txid_snapshot_xmin(func.txid_current_snapshot())))
        return Place(int(oldest_open or 0) - 1, _LARGEST)
    return Place(0, session.scalar(select(func.max(Event.seq))) or 0)


def is_ahead(session: Session, place: Place) -> bool:
    """Whether nothing that is written by now can stand at ``place``: it comes from a log that went on for longer, as
    the one before an older backup was restored."""
    if _on_postgres(session):
        next_transaction = session.scalar(select(func.txid_snapshot_xmax(func.txid_current_snapshot())))
        return place.transaction >= int(next_transaction or 0)
    return place > present_end(session)


def unsettled(session: Session) -> int:
    """How many committed events the followers do not get yet, because an older transaction is open."""
    if not _on_postgres(session):
        return 0
    return session.scalar(select(func.count()).where(Event.transaction > present_end(session).transaction)) or 0


def count_between(session: Session, here: Place, end: Place, kind: str) -> int:
    """How many events of a kind there are after ``here`` up to ``end``."""
    counted = select(func.count()).where(_after(here), ~_after(end), Event.kind == kind)
    return session.scalar(counted) or 0


def forget_old_events(session: Session, keep_days: float, now: datetime) -> None:
    """Remove what is older than that, but the newest: SQLite would give its number again. The caller commits."""
    newest = select(func.max(Event.seq)).scalar_subquery()
    session.execute(delete(Event).where(Event.at < now - timedelta(days=keep_days), Event.seq < newest))


def parse_place(text: str, field: str, accepted: str) -> Place:
    """The place that ``key`` of an event names.

    Raises:
        InvalidRequest: it is not one.
    """
    found = _KEY.fullmatch(text)
    if found is None or max(place := Place(*map(int, found.groups()))) > _LARGEST:
        raise InvalidRequest.of(field, "is not one of ours", accepted)
    return place


def place_of(event: EventRead) -> Place:
    """Of an event that we have written ourselves."""
    transaction, _, seq = event.key.partition("-")
    return Place(int(transaction), int(seq))


def read_event(event: Event) -> EventRead:
    """A row as the API shows it."""
    return EventRead(
        key=str(Place(event.transaction, event.seq)),
        at=event.at,
        kind=event.kind,
        actor=event.actor,
        actor_id=event.actor_id,
        study_id=event.study_id,
        subject_id=event.subject_id,
        data=event.data,
    )


def shown(view: View, events: Sequence[EventRead]) -> list[EventRead]:
    """Those of ``events`` that belong to ``view``."""
    return [event for event in events if view.shows(event)]


def _after(here: Place) -> ColumnElement[bool]:
    """Rows are compared as pairs, which both databases look up in the index."""
    return tuple_(Event.transaction, Event.seq) > _pair(here)


def _before(here: Place) -> ColumnElement[bool]:
    return tuple_(Event.transaction, Event.seq) < _pair(here)


def _pair(here: Place) -> ColumnElement[tuple[int, int]]:
    return tuple_(*(literal(number, BigInteger) for number in here))


def _starts(prefix: str) -> ColumnElement[bool]:
    return Event.kind.startswith(prefix, autoescape=True)


def _on_postgres(session: Session) -> bool:
    return session.get_bind().dialect.name == "postgresql"
