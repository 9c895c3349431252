"""What happened: pages for an audit, streams for who follows."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Header, Query, Request

from app.db import Database
from app.event_streams import EventStream
from app.event_watch import EventWatch
from app.routes.dependencies import READ, InDatabase, problems
from app.schemas.common import Page
from app.schemas.events import EventQuery, EventRead, KindPrefix
from app.services import event_log
from app.services.event_log import View

router = APIRouter(tags=["events"])


async def _watch(request: Request) -> EventWatch:
    return request.app.state.event_watch


_Watch = Annotated[EventWatch, Depends(_watch)]
_LastEventId = Annotated[str | None, Header(max_length=100, description="key of the last event that was received")]
_Kind = Annotated[KindPrefix | None, Query()]


@router.get("/events", dependencies=READ, responses=problems())
def list_events(database: InDatabase, query: Annotated[EventQuery, Query()]) -> Page[EventRead]:
    """List what happened. Events of keys and logins are shown to admin keys only."""
    with database.read() as session:
        return event_log.list_events(session, None, query)


@router.get("/studies/{study_id}/events", dependencies=READ, responses=problems(404))
def list_study_events(study_id: UUID, database: InDatabase, query: Annotated[EventQuery, Query()]) -> Page[EventRead]:
    """List what happened in a study."""
    with database.read() as session:
        return event_log.list_events(session, study_id, query)


@router.get("/events/stream", dependencies=READ, response_class=EventStream, responses=problems())
async def follow_events(
    database: InDatabase, watch: _Watch, kind: _Kind = None, last_event_id: _LastEventId = None
) -> EventStream:
    """Follow what happens, in the order of commits. Last-Event-ID goes on after that event and leaves out none.

    Where it lies ahead of the log, as after the restore of an older backup, a comment says so and new events follow."""
    return await _follow(database, watch, None, kind, last_event_id)


@router.get("/studies/{study_id}/events/stream", dependencies=READ, response_class=EventStream, responses=problems(404))
async def follow_study_events(
    study_id: UUID, database: InDatabase, watch: _Watch, kind: _Kind = None, last_event_id: _LastEventId = None
) -> EventStream:
    """Follow what happens in a study, as for all events."""
    return await _follow(database, watch, study_id, kind, last_event_id)


async def _follow(
    database: Database, watch: EventWatch, study_id: UUID | None, kind: str | None, last_event_id: str | None
) -> EventStream:
    def view() -> View:
        with database.read() as session:
            return event_log.view_of(session, study_id, kind)

    after = None
    if last_event_id is not None:
        after = event_log.parse_place(last_event_id, "Last-Event-ID", "the id of an event of this stream")
    return EventStream(watch.events(await run_sync(view), await watch.start(after)))
