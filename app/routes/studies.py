"""Studies and suggestions."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter

from app.routes.dependencies import READ, WRITE, Cursor, InDatabase, Limit, Now, problems
from app.schemas.common import Page
from app.schemas.runs import SuggestionCreate, SuggestionsRead
from app.schemas.studies import StudyCreate, StudyRead
from app.services import studies, suggestions

router = APIRouter(tags=["studies"])


@router.post("/studies", dependencies=WRITE, status_code=201, responses=problems())
def create_study(body: StudyCreate, database: InDatabase, now: Now) -> StudyRead:
    """Create a study: its domains, targets, objective and constraints."""
    with database.write() as session:
        return studies.create_study(session, body, now)


@router.get("/studies", dependencies=READ, responses=problems())
def list_studies(database: InDatabase, limit: Limit = 100, cursor: Cursor = None) -> Page[StudyRead]:
    """List studies, newest first."""
    with database.read() as session:
        return studies.list_studies(session, limit, cursor)


@router.get("/studies/{study_id}", dependencies=READ, responses=problems(404))
def get_study(study_id: UUID, database: InDatabase) -> StudyRead:
    """Read a study and the numbers of its runs by state."""
    with database.read() as session:
        return studies.get_study(session, study_id)


@router.post("/studies/{study_id}/suggestions", dependencies=READ, responses=problems(404))
def suggest(study_id: UUID, body: SuggestionCreate, database: InDatabase) -> SuggestionsRead:
    """Suggest mixtures to train next. Nothing is stored: queue those that you want as runs."""
    with database.read() as session:
        return suggestions.suggest(session, study_id, body)
