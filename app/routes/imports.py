"""Imports: runs of files and trackers into a study."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response

from app.routes.dependencies import READ, WRITE, Cursor, InDatabase, Limit, Now, Tagged, WithSettings, problems
from app.routes.import_parts import Parts, documented, parts_of
from app.schemas.common import Page
from app.schemas.imports import ImportFormats, ImportReport, ImportSettings, StudyImport
from app.services import imports

router = APIRouter(tags=["imports"])

_Settings = Annotated[Parts[ImportSettings], Depends(parts_of(ImportSettings))]
_Study = Annotated[Parts[StudyImport], Depends(parts_of(StudyImport))]


@router.get("/import-formats", dependencies=READ, responses=problems())
async def list_import_formats() -> ImportFormats:
    """List the formats that runs can be taken from, and the options of each."""
    return imports.list_formats()


@router.post(
    "/studies/{study_id}/imports",
    dependencies=WRITE,
    status_code=201,
    responses=problems(404, 408, 409, 502),
    openapi_extra=documented("ImportSettings"),
)
def import_runs(
    study_id: UUID, given: _Settings, database: InDatabase, settings: WithSettings, now: Now, response: Response
) -> ImportReport:
    """Take finished runs into a study, all that can be taken or none. Importing the same source twice changes nothing.

    Files are parts named ``files`` of a multipart body, whose part ``settings`` is JSON. A tracker needs no files:
    send the settings alone as a JSON body.
    """
    with imports.source_of(given.uploads, settings) as source:
        report = imports.run_import(database, study_id, given.settings, source, now)
    if report.id is not None:
        response.headers["Location"] = f"/v1/imports/{report.id}"
    return report


@router.post(
    "/imports",
    dependencies=WRITE,
    status_code=201,
    responses=problems(408, 409, 502),
    openapi_extra=documented("StudyImport"),
)
def import_study(
    given: _Study, database: InDatabase, settings: WithSettings, now: Now, response: Response
) -> ImportReport:
    """Make a study from a source, with its finished runs. The report names the study and says what was assumed."""
    with imports.source_of(given.uploads, settings) as source:
        report = imports.run_import(database, None, given.settings, source, now)
    if report.id is not None:
        response.headers["Location"] = f"/v1/imports/{report.id}"
    return report


@router.get("/studies/{study_id}/imports", dependencies=READ, responses=problems(404))
def list_imports(study_id: UUID, database: InDatabase, limit: Limit = 100, cursor: Cursor = None) -> Page[ImportReport]:
    """List the imports of a study, newest first. Dry runs are not kept."""
    with database.read() as session:
        return imports.list_imports(session, study_id, limit, cursor)


@router.get("/imports/{import_id}", dependencies=READ, responses=problems(404))
def get_import(import_id: UUID, database: InDatabase, tagged: Tagged) -> ImportReport:
    """Read the report of an import."""
    with database.read() as session:
        return tagged(imports.get_import(session, import_id))
