"""``Idempotency-Key``: a POST that is sent again is carried out once and answered twice (IETF draft, version 07).

The answer is stored in the transaction of the call's own changes: the session that a route opens with
``Database.write`` is committed only when the answer is known. A process that is killed at any point leaves both or
neither. A second call that comes while the first one works waits for it: on PostgreSQL at the primary key of the
table, on SQLite for its turn to write.

Only what succeeded is stored. A refusal changed nothing, so that the same key may be tried again.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from anyio.to_thread import run_sync
from fastapi import Request
from pydantic import BaseModel
from sqlalchemy import Engine, delete
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.clock import Clock
from app.db import Database
from app.errors import CallRepeated, InvalidRequest, ServiceError
from app.models import IdempotentCall
from app.principal import SERVICE, Principal
from app.problems import database_failure, problem_of
from app.whole_body import BODY_HASH

HEADER = "idempotency-key"
KEPT_FOR = timedelta(hours=24)
KEY_PATTERN = "^[!-~]{1,200}$"
_KEY = re.compile(KEY_PATTERN[1:-1])
_STORED_INSTEAD = "stored_instead"


def store_instead(request: Request, body: BaseModel) -> None:
    """Answer a repeated call with ``body``: the answer of the first one holds a secret that must not be stored."""
    setattr(request.state, _STORED_INSTEAD, body.model_dump_json().encode())


class _Deferred(Session):
    """Its commit waits for the answer of the call."""

    def commit(self) -> None:
        self.flush()


class OneCall:
    """One call with a key: the unit of work that its route writes in."""

    def __init__(self, database: Database, caller: str, key: str, fingerprint: str, now: datetime) -> None:
        self._database = database
        self._identity = (caller, key)
        self._fingerprint, self._now = fingerprint, now
        self._session: Session | None = None
        self.repeated = False

    def stored(self) -> IdempotentCall | None:
        """The answer of an earlier call.

        Raises:
            InvalidRequest: the key was used for another call.
        """
        with self._database.read() as session:
            found = session.get(IdempotentCall, self._identity)
        if found is not None and found.fingerprint != self._fingerprint:
            raise InvalidRequest.of(HEADER, "was used for another call", "a fresh key for each different call")
        return found

    @contextmanager
    def session(self, engine: Engine) -> Iterator[Session]:
        """The session of the call, open until :meth:`finish`; an exception inside takes everything back.

        Raises:
            CallRepeated: another call with this key was faster.
        """
        if self._session is None:
            self._session = _Deferred(engine, expire_on_commit=False)
            self._reserve(self._session)
        try:
            yield self._session
        except BaseException:
            self.drop()
            raise

    def _reserve(self, session: Session) -> None:
        caller, key = self._identity
        session.add(
            IdempotentCall(
                caller=caller,
                key=key,
                fingerprint=self._fingerprint,
                status=0,
                headers=[],
                body=b"",
                created_at=self._now,
            )
        )
        try:
            session.flush()
        except IntegrityError as exc:
            self.drop()
            self.repeated = True
            raise CallRepeated from exc

    def finish(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Commit what the call did together with its answer; take back what a refused call did."""
        session = self._session
        if session is None:
            return
        if status >= 300:
            self.drop()
            return
        try:
            row = session.get_one(IdempotentCall, self._identity)
            row.status, row.headers, row.body = status, [list(pair) for pair in headers], zlib.compress(body, 1)
            session.flush()
            Session.commit(session)
        finally:
            self.drop()

    def drop(self) -> None:
        """Roll back what is not committed."""
        if self._session is not None:
            self._session.close()
            self._session = None


class Idempotency:
    """Middleware: carries out a POST with a key once. It stands inside of :class:`~app.whole_body.WholeBody`."""

    def __init__(self, app: ASGIApp, database: Database, clock: Clock, prefix: str) -> None:
        self.app = app
        self._database, self._clock, self._prefix = database, clock, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].startswith(self._prefix):
            await self.app(scope, receive, send)
            return
        key = Headers(scope=scope).get(HEADER)
        if key is None:
            await self.app(scope, receive, send)
            return
        try:
            await self._once(scope, receive, send, key)
        except ServiceError as refusal:
            await problem_of(refusal, scope["path"])(scope, receive, send)
        except (OperationalError, PoolTimeout) as exc:
            await problem_of(database_failure(exc), scope["path"])(scope, receive, send)

    async def _once(self, scope: Scope, receive: Receive, send: Send, key: str) -> None:
        if not _KEY.fullmatch(key):
            raise InvalidRequest.of(HEADER, "is not a key", "1 to 200 visible ASCII characters")
        call = OneCall(self._database, _caller(scope), key, _fingerprint(scope), self._clock())
        if found := await run_sync(call.stored):
            await _replay(found, send)
            return
        scope["state"]["unit_of_work"] = call
        answer = _Answer()
        try:
            await self.app(scope, receive, answer.take)
            kept: bytes = scope["state"].get(_STORED_INSTEAD, bytes(answer.body))
            await run_sync(call.finish, answer.status, answer.headers, kept)
        finally:
            await run_sync(call.drop)
        if call.repeated and (found := await run_sync(call.stored)):
            await _replay(found, send)
            return
        await answer.pass_on(send)


class _Answer:
    """The answer of the application, held back until its changes are committed."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.status = 500
        self.headers: list[tuple[str, str]] = []
        self.body = bytearray()

    async def take(self, message: Message) -> None:
        self.messages.append(message)
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]]
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")

    async def pass_on(self, send: Send) -> None:
        for message in self.messages:
            await send(message)


async def _replay(found: IdempotentCall, send: Send) -> None:
    body = zlib.decompress(found.body)
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in found.headers]
    headers = [(name, str(len(body)).encode() if name == b"content-length" else value) for name, value in headers]
    headers.append((b"idempotency-replayed", b"true"))
    await send({"type": "http.response.start", "status": found.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _caller(scope: Scope) -> str:
    principal: Principal = scope.get("state", {}).get("principal", SERVICE)
    return str(principal.key_id or principal.name)[:64]


def _fingerprint(scope: Scope) -> str:
    what = f"{scope['method']} {scope['path']}?{scope['query_string'].decode('latin-1')}\n{scope['state'][BODY_HASH]}"
    return hashlib.sha256(what.encode()).hexdigest()


def forget_old_calls(session: Session, now: datetime) -> None:
    """Remove answers that nobody will ask for again."""
    session.execute(delete(IdempotentCall).where(IdempotentCall.created_at < now - KEPT_FOR))
    session.commit()
