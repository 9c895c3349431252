"""The key of the agents that ``mixwright serve`` starts: made for this start, revoked at its end.

It expires by itself when this process is killed, so it is renewed while the process lives.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import delete, select, update
from sqlalchemy.exc import SQLAlchemyError

from app.clock import Clock
from app.db import Database
from app.models import ApiKey, Login
from app.principal import Scope
from app.schemas.keys import KeyCreate
from app.services import keys

NAME = "local agents"
LIVES = timedelta(days=1)
_RENEW_EVERY_SECONDS = 3600.0

log = structlog.get_logger(__name__)


@contextmanager
def agent_key(database: Database, clock: Clock) -> Iterator[str]:
    """A key with the scope agent and no other, usable inside the block."""
    with database.write() as session:
        made = keys.create_key(session, KeyCreate(name=NAME, scopes=[Scope.AGENT], expires_at=clock() + LIVES), clock())
    _remove_leftovers(database, clock())
    assert made.key is not None
    ended = threading.Event()
    renewer = threading.Thread(target=_renew, args=(database, clock, made.id, ended), name="agent-key", daemon=True)
    renewer.start()
    try:
        yield made.key
    finally:
        ended.set()
        renewer.join()
        try:
            with database.write() as session:
                keys.revoke_key(session, made.id, clock())
        except SQLAlchemyError as exc:
            log.warning("The agents' key could not be revoked; it will expire", error=str(exc.__cause__ or exc))


def _renew(database: Database, clock: Clock, key_id: UUID, ended: threading.Event) -> None:
    while not ended.wait(_RENEW_EVERY_SECONDS):
        try:
            with database.write() as session:
                session.execute(update(ApiKey).where(ApiKey.id == key_id).values(expires_at=clock() + LIVES))
                session.commit()
        except SQLAlchemyError as exc:  # many more tries come before it expires
            log.warning("The agents' key could not be renewed", error=str(exc.__cause__ or exc))


def _remove_leftovers(database: Database, now: datetime) -> None:
    """Keys of earlier starts. Those of other replicas are renewed and stay."""
    ours = select(ApiKey.id).where(ApiKey.name == NAME, ApiKey.expires_at < now)
    with database.write() as session:
        session.execute(delete(Login).where(Login.key_id.in_(ours)))
        session.execute(delete(ApiKey).where(ApiKey.id.in_(ours)))
        session.commit()
