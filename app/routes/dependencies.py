"""What a route can ask for. None of them does work, so they run on the event loop and cost no thread."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, Query, Request

from app.db import Database
from app.problems import PROBLEM_JSON
from app.schemas.common import Problem
from app.settings import Settings


async def _database(request: Request) -> Database:
    return request.app.state.database


async def _settings(request: Request) -> Settings:
    return request.app.state.settings


async def _now(request: Request) -> datetime:
    return request.app.state.clock()


InDatabase = Annotated[Database, Depends(_database)]
WithSettings = Annotated[Settings, Depends(_settings)]
Now = Annotated[datetime, Depends(_now)]
Limit = Annotated[int, Query(ge=1, le=1000, description="the most items of a page")]
Cursor = Annotated[str | None, Query(max_length=100, description="next_cursor of the page before")]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals that a route documents; every one carries a problem body."""
    content = {PROBLEM_JSON: {"schema": Problem.model_json_schema()}}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": content}
        for status in sorted({401, 413, 421, 422, *statuses})
    }
