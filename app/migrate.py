"""Brings a database to the revision that this version of Mixwright needs, or says why it cannot.

The revisions live in the package ``migrations`` beside ``app``; it is found by its place and never imported here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError, IntegrityError

from app.db import Database
from app.errors import NewerDatabase, RefusedToStart
from app.settings import Settings

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"
# Any fixed number: replicas that start together take their turn on this advisory lock of PostgreSQL.
_LOCK = 6_091_735


def alembic_config(connection: Connection | None = None) -> Config:
    """Alembic's configuration without an ``alembic.ini``."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def head_revision() -> str:
    """The revision that this version of Mixwright needs."""
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    assert head is not None
    return head


def current_revision(connection: Connection) -> str | None:
    """The revision of a database; None for one without tables of ours."""
    return MigrationContext.configure(connection).get_current_revision()


def check_version(settings: Settings) -> None:
    """Refuse a database that this version cannot use; one that is absent, empty or older is fine.

    Raises:
        NewerDatabase: it holds a revision that this version does not know.
        RefusedToStart: it cannot be opened, or holds tables that are not ours.
    """
    url = make_url(settings.resolved_database_url)
    if url.get_backend_name() == "sqlite" and not (url.database and Path(url.database).exists()):
        return
    database = Database(settings.resolved_database_url)
    try:
        with database.engine.connect() as connection:
            _check(connection, _shown(settings))
    except DatabaseError as exc:
        raise RefusedToStart(f"the database {_shown(settings)} cannot be opened: {exc.orig}") from exc
    finally:
        database.dispose()


def upgrade(settings: Settings) -> str:
    """Apply every missing revision, all or none, and return the revision that stands then.

    Raises:
        NewerDatabase, RefusedToStart: as :func:`check_version`.
    """
    _make_data_dir(settings)
    database = Database(settings.resolved_database_url)
    try:
        with migrating(database) as connection:
            if not database.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            _check(connection, _shown(settings))
            command.upgrade(alembic_config(connection), "head")
            return current_revision(connection) or ""
    except DatabaseError as exc:
        raise RefusedToStart(f"the database {_shown(settings)} cannot be prepared: {exc.orig}") from exc
    finally:
        database.dispose()


@contextmanager
def migrating(database: Database) -> Iterator[Connection]:
    """A connection inside a writing transaction, for revisions: committed at the end, all or none.

    SQLite changes a table by making another one and dropping the first, which would take all rows that refer to it
    along. References are therefore looked at once, at the end.

    Raises:
        IntegrityError: a row refers to nothing.
    """
    if not database.is_sqlite:
        with database.writing_connection() as connection:
            yield connection
        return
    alone = Database(database.engine.url.render_as_string(hide_password=False))
    event.listen(alone.engine, "connect", _leave_references)
    try:
        with alone.writing_connection() as connection:
            yield connection
            orphan = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
            if orphan is not None:
                raise IntegrityError(None, None, ValueError(f"a row of {orphan[0]} refers to nothing"))
    finally:
        alone.dispose()


def _leave_references(connection: sqlite3.Connection, record: object) -> None:
    del record
    connection.execute("PRAGMA foreign_keys=OFF")


def _check(connection: Connection, shown: str) -> None:
    current = current_revision(connection)
    known = {script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()}
    if current is None:
        strangers = sorted(set(inspect(connection).get_table_names()) - {"alembic_version"})
        if strangers:
            raise RefusedToStart(
                f"the database {shown} holds tables that are not Mixwright's ({', '.join(strangers[:3])}); "
                "name an empty one"
            )
    elif current not in known:
        raise NewerDatabase(
            f"the database {shown} is of revision {current}, which this version of Mixwright does not know "
            f"(its own is {head_revision()}); start the newer version that wrote it, or name another data folder"
        )


def _make_data_dir(settings: Settings) -> None:
    try:
        settings.data_dir.mkdir(0o700, parents=True, exist_ok=True)  # it holds keys and all data
    except OSError as exc:
        raise RefusedToStart(f"the data folder {settings.data_dir} cannot be made: {exc.strerror}") from exc


def _shown(settings: Settings) -> str:
    """The database as a message may show it: without a password."""
    return make_url(settings.resolved_database_url).render_as_string(hide_password=True)
