"""What a route can ask for. None of them does work, so they run on the event loop and cost no thread."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header, Query, Request, Response, params
from pydantic import BaseModel

from app.db import Database
from app.errors import Forbidden
from app.etags import NotModified, Precondition, etag_of, is_known
from app.job_watch import JobWatch
from app.principal import Principal, Scope
from app.problems import PROBLEM_JSON
from app.recent_values import RecentValues
from app.settings import Settings

Body = TypeVar("Body", bound=BaseModel)


async def _principal(request: Request) -> Principal:
    return request.state.principal


async def _database(request: Request) -> Database:
    unit = getattr(request.state, "unit_of_work", None)
    return request.app.state.database.on_behalf_of(request.state.principal, unit)


async def _settings(request: Request) -> Settings:
    return request.app.state.settings


async def _watch(request: Request) -> JobWatch:
    return request.app.state.job_watch


async def _recent(request: Request) -> RecentValues:
    return request.app.state.recent_values


async def _now(request: Request) -> datetime:
    return request.app.state.clock()


Caller = Annotated[Principal, Depends(_principal)]
InDatabase = Annotated[Database, Depends(_database)]
WithSettings = Annotated[Settings, Depends(_settings)]
Recent = Annotated[RecentValues, Depends(_recent)]
Watch = Annotated[JobWatch, Depends(_watch)]
Now = Annotated[datetime, Depends(_now)]
Limit = Annotated[int, Query(ge=1, le=1000, description="the most items of a page")]
Cursor = Annotated[str | None, Query(max_length=100, description="next_cursor of the page before")]


IfNoneMatch = Annotated[
    str | None, Header(alias="If-None-Match", max_length=1000, description="versions that the caller has already")
]
_IfMatch = Annotated[
    str | None, Header(alias="If-Match", max_length=1000, description="the ETag of what is changed, as it was read")
]


class Needs:
    """The scope that a route needs; a route without one is a mistake that a test finds."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    async def __call__(self, caller: Caller) -> None:
        if not caller.may(self.scope):
            raise Forbidden(f"this call needs a key with the scope '{self.scope}'; this key has {_listed(caller)}")


def _listed(caller: Principal) -> str:
    return ", ".join(sorted(caller.scopes)) or "none"


def _needing(scope: Scope) -> Sequence[params.Depends]:
    return [Depends(Needs(scope))]


# For the ``dependencies`` of a route.
READ, WRITE, AGENT, ADMIN = (_needing(scope) for scope in (Scope.READ, Scope.WRITE, Scope.AGENT, Scope.ADMIN))


class Tag:
    """Tags what is read with its version; one that the caller has already becomes a 304. Not for changes."""

    def __init__(
        self,
        response: Response,
        if_none_match: IfNoneMatch = None,
    ) -> None:
        self._response, self._known = response, if_none_match

    def __call__(self, body: Body) -> Body:
        etag = etag_of(body)
        if is_known(self._known, etag):
            raise NotModified(etag)
        self._response.headers["ETag"] = etag
        return body


async def _precondition(if_match: _IfMatch = None) -> Precondition:
    return Precondition(if_match)


Tagged = Annotated[Tag, Depends(Tag)]
IfMatch = Annotated[Precondition, Depends(_precondition)]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals that a route documents; every one carries a problem body."""
    # app/openapi.py puts the schema there.
    content = {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": content}
        for status in sorted({401, 403, 413, 421, 422, 429, 503, *statuses})
    }
