"""Versions of a study's domain set."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Response

from app.routes.dependencies import READ, WRITE, Cursor, InDatabase, Limit, Now, Tagged, problems
from app.schemas.common import Page
from app.schemas.studies import DomainSetCreate, DomainSetUse
from app.services import domain_sets

router = APIRouter(tags=["domain sets"])


@router.post(
    "/studies/{study_id}/domain-sets",
    dependencies=WRITE,
    status_code=201,
    responses=problems(404) | {200: {"model": DomainSetUse, "description": "The present version is the same"}},
)
def create_domain_set(
    study_id: UUID, body: DomainSetCreate, database: InDatabase, now: Now, response: Response
) -> DomainSetUse:
    """Make a new version of the domains. Runs of earlier ones stay data points while the domains are the same."""
    with database.write() as session:
        made, is_new = domain_sets.create_domain_set(session, study_id, body, now)
    response.status_code = 201 if is_new else 200
    response.headers["Location"] = f"/v1/domain-sets/{made.id}"
    return made


@router.get("/studies/{study_id}/domain-sets", dependencies=READ, responses=problems(404))
def list_domain_sets(
    study_id: UUID, database: InDatabase, limit: Limit = 100, cursor: Cursor = None
) -> Page[DomainSetUse]:
    """List the versions of the domains, newest first."""
    with database.read() as session:
        return domain_sets.list_domain_sets(session, study_id, limit, cursor)


@router.get("/domain-sets/{domain_set_id}", dependencies=READ, responses=problems(404))
def get_domain_set(domain_set_id: UUID, database: InDatabase, tag: Tagged) -> DomainSetUse:
    """Read one version of the domains, and how many measured runs it has."""
    with database.read() as session:
        return tag(domain_sets.get_domain_set(session, domain_set_id))
