"""Where trainers find the domains."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Response

from app.etags import etag_of
from app.routes.dependencies import (
    READ,
    WRITE,
    Cursor,
    IfMatch,
    IfNoneMatch,
    InDatabase,
    Limit,
    Now,
    Tagged,
    problems,
)
from app.schemas.bindings import BindingPut, BindingRead
from app.schemas.common import Page
from app.services import bindings

router = APIRouter(tags=["bindings"])

Trainer = Annotated[str, Path(pattern=r"^[a-z0-9-]{1,50}$", description="a trainer of an export format, or your own")]
_BINDINGS = "/domain-sets/{domain_set_id}/bindings"
_BINDING = f"{_BINDINGS}/{{trainer}}"


@router.get(_BINDINGS, dependencies=READ, responses=problems(404))
def list_bindings(
    domain_set_id: UUID, database: InDatabase, limit: Limit = 100, cursor: Cursor = None
) -> Page[BindingRead]:
    """List the bindings of a domain set by trainer."""
    with database.read() as session:
        return bindings.list_bindings(session, domain_set_id, limit, cursor)


@router.get(_BINDING, dependencies=READ, responses=problems(404))
def get_binding(domain_set_id: UUID, trainer: Trainer, database: InDatabase, tag: Tagged) -> BindingRead:
    """Read where a trainer finds the domains."""
    with database.read() as session:
        return tag(bindings.get_binding(session, domain_set_id, trainer))


@router.put(
    _BINDING,
    dependencies=WRITE,
    responses=problems(404, 412, 428) | {201: {"model": BindingRead, "description": "It was not bound before"}},
)
def put_binding(
    domain_set_id: UUID,
    trainer: Trainer,
    body: BindingPut,
    database: InDatabase,
    if_match: IfMatch,
    now: Now,
    response: Response,
    if_none_match: IfNoneMatch = None,
) -> BindingRead:
    """Bind the domains for a trainer. A change needs If-Match; If-None-Match: * asks for a first binding only."""
    must_be_new = (if_none_match or "").strip() == "*"
    with database.write() as session:
        bound, is_new = bindings.put_binding(session, domain_set_id, trainer, body, if_match, must_be_new, now)
    response.status_code = 201 if is_new else 200
    response.headers["ETag"] = etag_of(bound)
    return bound


@router.delete(_BINDING, dependencies=WRITE, status_code=204, responses=problems(404, 412, 428))
def delete_binding(domain_set_id: UUID, trainer: Trainer, database: InDatabase, if_match: IfMatch, now: Now) -> None:
    """Forget where a trainer finds the domains."""
    with database.write() as session:
        bindings.delete_binding(session, domain_set_id, trainer, if_match, now)
