"""API keys: make, read, change, revoke, and tell whose a key is."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from app.errors import Conflict, Forbidden, InvalidRequest, NotFound
from app.etags import Precondition
from app.ids import new_id
from app.key_text import hash_of, new_secret, read_key, write_key
from app.models import ApiKey, Study
from app.principal import Principal, Scope
from app.schemas.common import Page
from app.schemas.keys import KeyCreate, KeyCreated, KeyRead, KeyUpdate
from app.services.access import caller, check_study
from app.services.events import record
from app.services.pages import page

# Longer is meant as never, and null says so.
_LONGEST = timedelta(days=3653)


@dataclass(frozen=True)
class Holder:
    """Whose key it is, and until when; ``key_hash`` is what is stored of its secret."""

    principal: Principal
    key_hash: str
    expires_at: datetime | None = None
    last_used_at: datetime | None = None


def create_key(session: Session, body: KeyCreate, now: datetime) -> KeyCreated:
    """A new key; the answer is the only place where it can be read.

    Raises:
        Forbidden: the caller's key is bound to a study and the new one would not be.
        InvalidRequest: it would have expired already, or its study is not there.
    """
    _check_binding(session, body.study_id)
    key, text = new_key(body, now)
    session.add(key)
    data = {"name": key.name, "scopes": key.scopes, "expires_at": body.expires_at and body.expires_at.isoformat()}
    record(session, "key.created", now, study_id=key.study_id, subject_id=key.id, data=data)
    session.commit()
    return KeyCreated(**_read([key])[0].model_dump(), key=text)


def new_key(body: KeyCreate, now: datetime) -> tuple[ApiKey, str]:
    """(row, text) of a key that nobody has stored yet.

    Raises:
        InvalidRequest: it would have expired already.
    """
    _check_expiry(body.expires_at, now)
    secret = new_secret()
    key = ApiKey(
        id=new_id(now),
        name=body.name,
        secret_hash=hash_of(secret),
        scopes=[scope.value for scope in Scope if scope in body.scopes],
        study_id=body.study_id,
        created_at=now,
        expires_at=body.expires_at,
        revoked_at=None,
        last_used_at=None,
    )
    return key, write_key(key.id, secret)


def list_keys(session: Session, limit: int, cursor: str | None) -> Page[KeyRead]:
    """Keys, newest first; also those that expired or were revoked."""
    rows = select(ApiKey)
    bound = caller(session).study_id
    if bound is not None:
        rows = rows.where(ApiKey.study_id == bound)
    return page(session, rows, ApiKey.id, limit, cursor, _read, newest_first=True)


def get_key(session: Session, key_id: UUID) -> KeyRead:
    """One key, without its secret."""
    return _read([_find(session, key_id)])[0]


def update_key(session: Session, key_id: UUID, body: KeyUpdate, version: Precondition, now: datetime) -> KeyRead:
    """Change a key's name or its expiry.

    Raises:
        PreconditionRequired, PreconditionFailed: the caller has not read the present version.
        Conflict: it was revoked, which is for good.
        InvalidRequest: it would have expired already.
    """
    key = _find(session, key_id, to_change=True)
    version.require(_read([key])[0])
    if key.revoked_at is not None:
        raise Conflict(f"the key {key_id} was revoked; make a new one")
    if body.name is not None:
        key.name = body.name
    if "expires_at" in body.model_fields_set:  # null says never
        _check_expiry(body.expires_at, now)
        key.expires_at = body.expires_at
    data = {"name": key.name, "expires_at": key.expires_at and key.expires_at.isoformat()}
    record(session, "key.updated", now, study_id=key.study_id, subject_id=key.id, data=data)
    session.commit()
    return _read([key])[0]


def revoke_key(session: Session, key_id: UUID, now: datetime) -> KeyRead:
    """Make a key useless for good; revoking it again changes nothing."""
    key = _find(session, key_id, to_change=True)
    if key.revoked_at is None:
        key.revoked_at = now
        record(session, "key.revoked", now, study_id=key.study_id, subject_id=key.id, data={"name": key.name})
        session.commit()
    return _read([key])[0]


def holder_of_key(session: Session, text: str, now: datetime) -> Holder | None:
    """Whose key ``text`` is; None for one that is wrong, expired or revoked."""
    read = read_key(text)
    if read is None:
        return None
    key_id, secret = read
    key = session.get(ApiKey, key_id)
    if key is None or not hmac.compare_digest(hash_of(secret), key.secret_hash):
        return None
    return holder(key) if is_usable(key, now) else None


def holder(key: ApiKey) -> Holder:
    """The holder of a stored key."""
    principal = Principal(key.name, frozenset(Scope(scope) for scope in key.scopes), key.id, key.study_id)
    return Holder(principal, key.secret_hash, key.expires_at, key.last_used_at)


def is_usable(key: ApiKey, now: datetime) -> bool:
    """Whether the key is neither revoked nor expired."""
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > now)


def usable_admin_key(session: Session, now: datetime) -> ApiKey | None:
    """The newest key that may do everything everywhere, if there is one."""
    rows = (
        select(ApiKey)
        .where(ApiKey.revoked_at.is_(None), or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now))
        .where(ApiKey.study_id.is_(None))
        .order_by(ApiKey.id.desc())
    )
    return next((key for key in session.scalars(rows) if Scope.ADMIN in key.scopes), None)


def _find(session: Session, key_id: UUID, to_change: bool = False) -> ApiKey:
    key = session.get(ApiKey, key_id, with_for_update=True if to_change else None)
    bound = caller(session).study_id
    if key is None or (bound is not None and key.study_id != bound):
        raise NotFound(f"there is no key {key_id}")
    return key


def _check_binding(session: Session, study_id: UUID | None) -> None:
    if study_id is None:
        if caller(session).study_id is not None:
            raise Forbidden("this key is bound to one study and may not make a key that is not bound to it")
        return
    try:
        check_study(session, study_id)
        known = session.get(Study, study_id) is not None
    except NotFound:
        known = False
    if not known:
        raise InvalidRequest.of("study_id", f"there is no study {study_id}", "the id of a study, or null")


def _check_expiry(expires_at: datetime | None, now: datetime) -> None:
    if expires_at is not None and not now < expires_at < now + _LONGEST:
        what = "is in the past" if expires_at <= now else "is more than ten years away"
        raise InvalidRequest.of("expires_at", what, "a time in the next ten years, or null for never")


def _read(keys: Sequence[ApiKey]) -> list[KeyRead]:
    return [KeyRead.model_validate(key) for key in keys]
