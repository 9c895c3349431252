"""Copies of the embedded database: one file, made while the service runs, and put back when it does not.

A copy is whole or absent: it is made beside its place and renamed. What is put back is looked at first, so that a file
of another program, of a newer version or with a broken page never takes the place of data.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from app.errors import RefusedToStart
from app.migrate import check_version
from app.settings import DATABASE_FILE, Settings

# So many pages of 4 KiB are copied before writers get a turn.
_PAGES_AT_ONCE = 2000
_BUSY_SECONDS = 30
# SQLite keeps what is not yet in the database file beside it.
_BESIDE = ("-wal", "-shm", "-journal")


class BackupRefused(RefusedToStart):
    """The backup cannot be made or put back."""


def back_up(settings: Settings, to: Path) -> int:
    """Copy the database as one moment saw it into the file ``to``; its size in bytes. Writers go on meanwhile.

    Raises:
        BackupRefused: there is no embedded database, the file exists, or it cannot be written.
    """
    source = _embedded(settings)
    if not source.exists():
        raise BackupRefused(f"there is no database {source} to back up")
    if to.exists():
        raise BackupRefused(f"{to} is there already; name a file that is not")
    with _made_beside(to) as made:
        made.touch(0o600)  # it holds the hashes of keys
        with closing(_open(source)) as database, closing(sqlite3.connect(made)) as copy:
            database.backup(copy, pages=_PAGES_AT_ONCE)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, that needs none beside it
        _check_whole(made)
    return to.stat().st_size


def restore(settings: Settings, backup: Path, replace: bool) -> None:
    """Put a backup in the place of the database. An older revision is fine: the next start brings it up.

    Args:
        replace: whether a database that is there may be lost.

    Raises:
        BackupRefused: a service runs on the folder, there is a database already, or the backup is broken.
        NewerDatabase: the backup is of a newer version.
    """
    target = _embedded(settings)
    if not backup.is_file():
        raise BackupRefused(f"there is no backup {backup}")
    if target.exists() and not replace:
        raise BackupRefused(f"{target} holds data already; --force replaces it, or name another --data-dir")
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with _nobody_else(target), _made_beside(target) as made:
        with closing(_open(backup)) as source, closing(sqlite3.connect(made)) as copy:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
        _check_whole(made)
        check_version(settings.model_copy(update={"database_url": f"sqlite:///{made.absolute()}"}))
        for beside in _BESIDE:
            Path(f"{target}{beside}").unlink(missing_ok=True)


def _embedded(settings: Settings) -> Path:
    if settings.database_url is not None:
        raise BackupRefused(
            "MIXWRIGHT_DATABASE_URL names a database of its own; back it up with its tools (pg_dump for PostgreSQL)"
        )
    return settings.data_dir / DATABASE_FILE


def _open(path: Path) -> sqlite3.Connection:
    """For reading; a missing file is not made."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS)


@contextmanager
def _made_beside(path: Path) -> Iterator[Path]:
    """A path for a file that takes the place of ``path`` when the body succeeds, and is removed when it fails."""
    made = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield made
        with made.open("rb") as file:
            os.fsync(file.fileno())
        made.replace(path)
        _sync_folder(path.parent)
    except sqlite3.Error as exc:
        raise BackupRefused(f"{path} cannot be written: {exc}") from exc
    except OSError as exc:
        raise BackupRefused(f"{path} cannot be written: {exc.strerror}") from exc
    finally:
        made.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _check_whole(path: Path) -> None:
    """Refuse a database with a broken page, or with rows that refer to nothing."""
    with closing(sqlite3.connect(path)) as copy:
        try:
            found = [text for (text,) in copy.execute("PRAGMA integrity_check(3)")]
            orphans = copy.execute("PRAGMA foreign_key_check").fetchone()
            tables = {name for (name,) in copy.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        except sqlite3.DatabaseError as exc:
            raise BackupRefused(f"the copy cannot be read: {exc}") from exc
    if found != ["ok"]:
        raise BackupRefused(f"the copy is broken: {found[0]}")
    if orphans is not None:
        raise BackupRefused(f"the copy is broken: a row of {orphans[0]} refers to nothing")
    if "alembic_version" not in tables:
        raise BackupRefused("the copy holds no database of Mixwright")


@contextmanager
def _nobody_else(database: Path) -> Iterator[None]:
    """Hold the database alone, which shows that no service has it open.

    Raises:
        BackupRefused: another process has it open.
    """
    if not database.exists():
        yield
        return
    with closing(sqlite3.connect(database, timeout=0, isolation_level=None)) as connection:
        try:
            # In this mode a lock is taken at the first access and kept; it fails while anybody has the file open.
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as exc:
            raise BackupRefused(f"a service runs on {database.parent}; stop it first") from exc
        except sqlite3.DatabaseError:
            pass  # it is broken, which is why it is replaced
        yield
