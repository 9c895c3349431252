"""Engines and sessions. One place knows how SQLite and PostgreSQL differ.

A transaction that writes is opened by :meth:`Database.write`: on SQLite it starts with ``BEGIN IMMEDIATE``, so that
it waits for its turn at the start and never fails in the middle; on PostgreSQL it is an ordinary transaction.

SQLite lets writers wait by trying again and again, with pauses, in no order. The threads of one process therefore
take turns at a lock first, so that many at once are as fast as one and none waits for long; only processes try.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from app.principal import Principal

# How long a transaction waits for another one on SQLite before it gives up.
BUSY_TIMEOUT_SECONDS = 30
_BEGIN = "sqlite_begin"
_IMMEDIATE = "BEGIN IMMEDIATE"
_HAS_TURN = "has_turn_to_write"


class UnitOfWork(Protocol):
    """Something that opens the one writing session of a call and ends it itself (``app/idempotency.py``)."""

    def session(self, engine: Engine) -> AbstractContextManager[Session]: ...


class Database:
    """The engine of one database and its sessions."""

    def __init__(self, url: str) -> None:
        self.engine = _create_engine(url)
        self._writing = self.engine.execution_options(**{_BEGIN: _IMMEDIATE})
        self._info: dict[str, Any] = {}
        self._unit: UnitOfWork | None = None

    def on_behalf_of(self, principal: Principal, unit: UnitOfWork | None = None) -> Database:
        """The same database, whose sessions know who calls; ``unit`` opens its writing sessions."""
        ours = copy(self)
        ours._info, ours._unit = {"principal": principal}, unit
        return ours

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that sees one state of the database and changes nothing."""
        with Session(self.engine, expire_on_commit=False, info=self._info) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that may change things. The caller commits; what is not committed is rolled back."""
        if self._unit is not None:
            with self._unit.session(self._writing) as session:
                session.info.update(self._info)
                yield session
            return
        with Session(self._writing, expire_on_commit=False, info=self._info) as session:
            yield session

    @contextmanager
    def writing_connection(self) -> Iterator[Connection]:
        """A connection inside a writing transaction, committed at the end; for migrations."""
        with self._writing.begin() as connection:
            yield connection

    def dispose(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def _create_engine(url: str) -> Engine:
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(url, pool_size=10, max_overflow=40, pool_pre_ping=True)
    engine = create_engine(
        url,
        # One connection a request thread, so that a burst waits for the database and not for the pool.
        pool_size=10,
        max_overflow=40,
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
    )
    event.listen(engine, "connect", _prepare_sqlite)
    turns = _Turns()
    event.listen(engine, "begin", turns.begin)
    event.listen(engine, "checkin", turns.end)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, record: Any) -> None:
    """Let us say BEGIN ourselves, and set what SQLite keeps for each connection."""
    del record
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_SECONDS * 1000}",
        "journal_mode=WAL",  # readers and the one writer do not wait for each other
        "synchronous=NORMAL",  # with WAL a crash of the process loses nothing; of the machine, the last commits
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


class _Turns:
    """The turns of one process to write to one SQLite database: taken before BEGIN, given back with the connection."""

    def __init__(self) -> None:
        self._free = threading.Lock()

    def begin(self, connection: Connection) -> None:
        """Begin a transaction; one that writes waits for its turn, as long as it would wait for another process."""
        how = connection.get_execution_options().get(_BEGIN, "BEGIN")
        if how == _IMMEDIATE and self._free.acquire(timeout=BUSY_TIMEOUT_SECONDS):
            connection.info[_HAS_TURN] = True
        connection.exec_driver_sql(how)

    def end(self, connection: Any, record: ConnectionPoolEntry) -> None:
        """The connection is done with, whatever has happened on it."""
        del connection
        if record.info.pop(_HAS_TURN, False):
            self._free.release()
