"""Whose key or cookie a call carries. What was looked up is believed for a moment, so that many calls cost one look-up.

A change that this process commits is seen at once; one of another replica within :data:`BELIEVED_SECONDS`. Look-ups
run in threads of their own: they neither block the event loop nor wait for slow routes.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from pydantic import SecretStr
from sqlalchemy import event, or_, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.clock import Clock
from app.db import Database
from app.key_text import hash_of
from app.models import ApiKey
from app.principal import OWNER, Principal
from app.services.keys import Holder, holder_of_key
from app.services.logins import holder_of_login

BELIEVED_SECONDS = 2.0
# last_used_at is written at most this often.
USED_EVERY = timedelta(minutes=1)
# Callers at one time; more only means more look-ups.
_MOST_BELIEVED = 10_000
_LOOKUPS_AT_ONCE = 8

log = structlog.get_logger(__name__)
Find = Callable[[Session, str], Holder | None]


@dataclass(frozen=True)
class _Believed:
    holder: Holder
    until: float  # of time.monotonic()


class Credentials:
    """The keys and logins of one database, and the key of the settings."""

    def __init__(self, database: Database, api_key: SecretStr | None, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self._owner = None if api_key is None else Holder(OWNER, hash_of(api_key.get_secret_value().strip()))
        self._believed: dict[bytes, _Believed] = {}
        self._generation = 0
        self._threads: CapacityLimiter | None = None
        self._used: dict[UUID, datetime] = {}
        # One thread: on SQLite it may wait long for its turn to write, and no call waits with it.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="key-use")

    @property
    def owner(self) -> Holder | None:
        """The holder of the key of the settings, if there is one."""
        return self._owner

    def close(self) -> None:
        """Write nothing more."""
        self._writer.shutdown(cancel_futures=True)

    async def of_key(self, text: str) -> Principal | None:
        """Who holds a key of the database; None for one that is wrong, expired or revoked."""
        return await self._look_up("key", text, lambda session, key: holder_of_key(session, key, self._clock()))

    async def of_cookie(self, token: str) -> Principal | None:
        """Who is logged in; None when nobody is."""
        return await self._look_up("cookie", token, self._find_login)

    def of_owner(self, key: bytes) -> Principal | None:
        """The owner, when this is the key of the settings; compared in constant time."""
        right = self._owner is not None and hmac.compare_digest(hash_of(key), self._owner.key_hash)
        return OWNER if right else None

    def holder_of(self, text: str) -> Holder | None:
        """Who holds a key, asked of the database itself; for a login."""
        if self.of_owner(text.encode()) is not None:
            return self._owner
        with self._database.read() as session:
            return holder_of_key(session, text, self._clock())

    def forget(self) -> None:
        """Believe nothing that was looked up before."""
        self._generation += 1
        self._believed.clear()

    def forget_after(self, session: Session) -> None:
        """Do so when this session has committed, which may be after its route has answered."""
        event.listen(session, "after_commit", lambda _: self.forget())

    async def _look_up(self, kind: str, text: str, find: Find) -> Principal | None:
        # The dictionary is searched by a hash, so that the time it takes tells nothing of a secret.
        digest = hashlib.sha256(f"{kind} {text}".encode()).digest()
        known = self._believed.get(digest)
        if known is None or known.until < time.monotonic():
            known = await self._ask(digest, text, find)
        if known is None or _has_ended(known.holder, self._clock()):
            return None
        return known.holder.principal

    async def _ask(self, digest: bytes, text: str, find: Find) -> _Believed | None:
        if self._threads is None:
            self._threads = CapacityLimiter(_LOOKUPS_AT_ONCE)
        generation = self._generation
        found = await run_sync(self._read, text, find, limiter=self._threads)
        if found is None:
            self._believed.pop(digest, None)
            return None
        self._note_use(found)
        believed = _Believed(found, time.monotonic() + BELIEVED_SECONDS)
        if generation == self._generation:  # else it was read before a change that is committed by now
            if len(self._believed) >= _MOST_BELIEVED:
                self._believed.clear()
            self._believed[digest] = believed
        return believed

    def _read(self, text: str, find: Find) -> Holder | None:
        with self._database.read() as session:
            return find(session, text)

    def _find_login(self, session: Session, token: str) -> Holder | None:
        return holder_of_login(session, token, self._owner, self._clock())

    def _note_use(self, found: Holder) -> None:
        key_id, now = found.principal.key_id, self._clock()
        if key_id is None:
            return
        last = self._used.get(key_id, found.last_used_at)
        if last is None or abs(now - last) >= USED_EVERY:
            self._used[key_id] = now
            self._writer.submit(self._write_use, key_id, now)

    def _write_use(self, key_id: UUID, now: datetime) -> None:
        """Every replica may have the same to write; the first one does."""
        before = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at <= now - USED_EVERY)
        try:
            with self._database.write() as session:
                session.execute(update(ApiKey).where(ApiKey.id == key_id, before).values(last_used_at=now))
                session.commit()
        except SQLAlchemyError as exc:  # the call that used the key does not depend on it
            log.warning("The use of a key was not noted", action="key_use_lost", error=str(exc.__cause__ or exc))


def _has_ended(found: Holder, now: datetime) -> bool:
    return found.expires_at is not None and found.expires_at <= now
