"""API keys."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from app.credentials import Credentials
from app.etags import etag_of
from app.idempotency import store_instead
from app.routes.dependencies import ADMIN, Cursor, IfMatch, InDatabase, Limit, Now, Tagged, problems
from app.schemas.common import Page
from app.schemas.keys import KeyCreate, KeyCreated, KeyRead, KeyUpdate
from app.services import keys

router = APIRouter(tags=["keys"])


async def _credentials(request: Request) -> Credentials:
    return request.app.state.credentials


Believed = Annotated[Credentials, Depends(_credentials)]


@router.post("/keys", dependencies=ADMIN, status_code=201, responses=problems())
def create_key(body: KeyCreate, database: InDatabase, request: Request, now: Now) -> KeyCreated:
    """Make a key. This answer is the only one that holds it."""
    with database.write() as session:
        made = keys.create_key(session, body, now)
    store_instead(request, made.model_copy(update={"key": None}))
    return made


@router.get("/keys", dependencies=ADMIN, responses=problems())
def list_keys(database: InDatabase, limit: Limit = 100, cursor: Cursor = None) -> Page[KeyRead]:
    """List keys, newest first, also those that expired or were revoked."""
    with database.read() as session:
        return keys.list_keys(session, limit, cursor)


@router.get("/keys/{key_id}", dependencies=ADMIN, responses=problems(404))
def get_key(key_id: UUID, database: InDatabase, tag: Tagged) -> KeyRead:
    """Read what a key is for, and when it was used."""
    with database.read() as session:
        return tag(keys.get_key(session, key_id))


@router.patch("/keys/{key_id}", dependencies=ADMIN, responses=problems(404, 409, 412, 428))
def update_key(
    key_id: UUID,
    body: KeyUpdate,
    database: InDatabase,
    version: IfMatch,
    believed: Believed,
    response: Response,
    now: Now,
) -> KeyRead:
    """Change the name of a key, or when it expires."""
    with database.write() as session:
        believed.forget_after(session)
        changed = keys.update_key(session, key_id, body, version, now)
    response.headers["ETag"] = etag_of(changed)
    return changed


@router.post("/keys/{key_id}/revoke", dependencies=ADMIN, responses=problems(404))
def revoke_key(key_id: UUID, database: InDatabase, believed: Believed, now: Now) -> KeyRead:
    """Make a key useless, for good."""
    with database.write() as session:
        believed.forget_after(session)
        return keys.revoke_key(session, key_id, now)
