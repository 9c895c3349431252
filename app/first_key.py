"""How the person at this machine gets in: the first key, kept in a file of theirs, and links that log in once."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy.orm import Session

from app.atomic_files import write_secret
from app.db import Database
from app.errors import RefusedToStart
from app.key_text import hash_of, read_key
from app.local_key import ADMIN_KEY_FILE, local_key
from app.models import ApiKey
from app.principal import OWNER, Scope
from app.schemas.keys import KeyCreate
from app.security import LOGIN_PATH
from app.services import keys, logins
from app.services.events import record
from app.settings import Settings

_NAME = "first key"
_URL_FILE = "service.url"
_LOCK_FILE = "service.lock"


@contextmanager
def running_at(settings: Settings) -> Iterator[None]:
    """While it lasts the data folder says where its service answers, so that links can be made for it.

    Raises:
        RefusedToStart: it cannot be written, or another service runs on the embedded database of this folder.
    """
    with _sole_service(settings):
        _write(settings, _URL_FILE, settings.local_url)
        try:
            yield
        finally:
            if _running_url(settings) == settings.local_url:  # services on PostgreSQL may share a folder
                (settings.data_dir / _URL_FILE).unlink(missing_ok=True)


@contextmanager
def _sole_service(settings: Settings) -> Iterator[None]:
    """The lock of an embedded database. The system gives it back when the process ends, however that happens."""
    if settings.database_url is not None:
        yield
        return
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        lock = (settings.data_dir / _LOCK_FILE).open("a")
    except OSError as exc:
        raise _unwritable(settings, _LOCK_FILE, exc) from exc
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise RefusedToStart(
                f"a service runs on {settings.data_dir} already ({_running_url(settings)}); "
                "stop it first, or name another --data-dir"
            ) from exc
        yield


def ensure_admin_key(settings: Settings, database: Database, now: datetime) -> bool:
    """Make an admin key when nobody could get in without, and leave it in the data folder.

    Raises:
        RefusedToStart: it cannot be written there.

    Returns:
        Whether one was made.
    """
    with database.write() as session:
        if settings.api_key is not None or keys.usable_admin_key(session, now) is not None:
            return False
        key, text = keys.new_key(KeyCreate(name=_NAME, scopes=[Scope.ADMIN]), now)
        session.add(key)
        record(session, "key.created", now, subject_id=key.id, data={"name": key.name, "scopes": key.scopes})
        session.flush()
        # A key in the file that is not in the database is replaced by the next start; the other way round it is lost.
        _write(settings, ADMIN_KEY_FILE, text)
        session.commit()
    return True


def login_link(settings: Settings, database: Database, now: datetime, url: str | None = None) -> str:
    """A link that logs an admin in, once.

    Args:
        url: where the service answers; None for what the running service of this data folder says, else the settings.

    Raises:
        RefusedToStart: there is no key that the login could be made with.
    """
    with database.write() as session:
        who = _person(settings, session, now)
        if who is None:
            raise RefusedToStart("there is no admin key; make one: mixwright keys create NAME --scope admin")
        token = logins.make_link(session, who, now)
    return f"{url or _running_url(settings)}{LOGIN_PATH}/{token}"


def _person(settings: Settings, session: Session, now: datetime) -> keys.Holder | None:
    """Whoever runs this service may do everything in it: the key of the file, of the settings, or any admin key."""
    read = read_key(local_key(settings.data_dir) or "")
    key = None if read is None else session.get(ApiKey, read[0])
    if key is not None and keys.is_usable(key, now) and Scope.ADMIN in key.scopes and key.study_id is None:
        return keys.holder(key)
    if settings.api_key is not None:
        return keys.Holder(OWNER, hash_of(settings.api_key.get_secret_value().strip()))
    other = keys.usable_admin_key(session, now)
    return None if other is None else keys.holder(other)


def _running_url(settings: Settings) -> str:
    try:
        return (settings.data_dir / _URL_FILE).read_text(encoding="utf-8").strip()
    except OSError:
        return settings.local_url


def _write(settings: Settings, name: str, text: str) -> None:
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        write_secret(settings.data_dir / name, f"{text}\n")
    except OSError as exc:
        raise _unwritable(settings, name, exc) from exc


def _unwritable(settings: Settings, name: str, error: OSError) -> RefusedToStart:
    return RefusedToStart(f"{settings.data_dir / name} cannot be written: {error.strerror or error}")
