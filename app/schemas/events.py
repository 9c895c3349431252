"""Bodies: what happened."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from app.schemas.common import Answer, Body, Moment

KindPrefix = Annotated[str, Field(max_length=100, description="kinds that start like this, as in 'run.'")]


class EventRead(Answer):
    """One change. ``key`` is its place in the order of commits, as a stream sends it and takes it back."""

    key: str
    at: datetime
    kind: str
    actor: str
    actor_id: UUID | None
    study_id: UUID | None
    subject_id: UUID | None
    data: dict[str, Any]


class EventFilter(Body):
    """Events that are like this in every field that is given."""

    kind: KindPrefix | None = None
    subject_id: UUID | None = None
    actor: str | None = Field(default=None, max_length=200)
    since: Moment | None = Field(default=None, description="recorded then or later")


class EventQuery(EventFilter):
    """A page of events. ``oldest`` first shows an event once no earlier one can appear any more."""

    EXACT: ClassVar[bool] = False  # a query is text

    order: Literal["newest", "oldest"] = "newest"
    limit: int = Field(default=100, ge=1, le=1000, description="the most items of a page")
    cursor: str | None = Field(default=None, max_length=100, description="next_cursor of the page before")
