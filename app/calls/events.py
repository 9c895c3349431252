"""Calls: what happened, and what is happening."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from uuid import UUID

from app.calls.pages import walked
from app.calls.transport import Transport
from app.schemas.common import Page
from app.schemas.events import EventQuery, EventRead


class EventCalls(Transport):
    """The calls of this resource; one method a route."""

    def list_events(self, query: EventQuery | None = None, study_id: UUID | None = None) -> Page[EventRead]:
        """A page of the events that are like the query, of one study or of all."""
        asked = (query or EventQuery()).model_dump(mode="json", exclude_none=True)
        return self._get(_path(study_id), Page[EventRead], **asked)

    def find_events(self, query: EventQuery, study_id: UUID | None = None) -> Iterator[EventRead]:
        """Every event that is like the query, page by page."""
        return walked(lambda cursor: self.list_events(query.model_copy(update={"cursor": cursor}), study_id))

    def events(
        self, study_id: UUID | None = None, after: str | None = None, kind: str | None = None
    ) -> Generator[EventRead, None, None]:
        """What happens from now on, without end; a lost connection is made again, and no event is left out.

        Args:
            after: the key of an event; what came after it is told first.
            kind: only kinds that start like this.
        """
        path = f"{_path(study_id)}/stream"
        with closing(self._stream(path, after, kind=kind)) as events:
            for event in events:
                yield self._parsed(path, event.data, EventRead)


def _path(study_id: UUID | None) -> str:
    return "/v1/events" if study_id is None else f"/v1/studies/{study_id}/events"
