"""Studies and suggestions."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from app.etags import etag_of
from app.routes.dependencies import (
    READ,
    WRITE,
    Cursor,
    IfMatch,
    InDatabase,
    Limit,
    Now,
    Tagged,
    problems,
)
from app.schemas.common import Page
from app.schemas.runs import SuggestionCreate, SuggestionsRead
from app.schemas.studies import StudyCreate, StudyPatch, StudyRead
from app.services import studies, suggestions

router = APIRouter(tags=["studies"])


@router.post("/studies", dependencies=WRITE, status_code=201, responses=problems())
def create_study(body: StudyCreate, database: InDatabase, now: Now) -> StudyRead:
    """Create a study: its domains, targets, objective and constraints."""
    with database.write() as session:
        return studies.create_study(session, body, now)


@router.get("/studies", dependencies=READ, responses=problems())
def list_studies(
    database: InDatabase,
    now: Now,
    name: Annotated[str | None, Query(max_length=200, description="a part of the name, in any case")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[StudyRead]:
    """List studies, newest first."""
    with database.read() as session:
        return studies.list_studies(session, limit, cursor, now, name)


@router.get("/studies/{study_id}", dependencies=READ, responses=problems(404))
def get_study(study_id: UUID, database: InDatabase, now: Now, tag: Tagged) -> StudyRead:
    """Read a study, the numbers of its runs by state and what they have cost."""
    with database.read() as session:
        return tag(studies.get_study(session, study_id, now))


@router.patch("/studies/{study_id}", dependencies=WRITE, responses=problems(404, 412, 428))
def change_study(
    study_id: UUID, body: StudyPatch, database: InDatabase, if_match: IfMatch, now: Now, response: Response
) -> StudyRead:
    """Change the name, description, objective, constraints or budget of a study."""
    with database.write() as session:
        changed = studies.change_study(session, study_id, body, if_match, now)
    response.headers["ETag"] = etag_of(changed)
    return changed


@router.post("/studies/{study_id}/suggestions", dependencies=READ, responses=problems(404))
def suggest(study_id: UUID, body: SuggestionCreate, database: InDatabase) -> SuggestionsRead:
    """Suggest mixtures to train next. Nothing is stored: queue those that you want as runs."""
    with database.read() as session:
        return suggestions.suggest(session, study_id, body)
