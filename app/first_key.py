"""How the person at this machine gets in: the first key, kept in a file of theirs, and links that log in once."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True)
class RunningAt:
    """A context in which the data folder says where its service answers, so that links can be made for it."""

    settings: Settings

    def __enter__(self) -> None:
        _write(self.settings, _URL_FILE, self.settings.local_url)

    def __exit__(self, *_: object) -> None:
        (self.settings.data_dir / _URL_FILE).unlink(missing_ok=True)


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
        raise RefusedToStart(f"{settings.data_dir / name} cannot be written: {exc.strerror or exc}") from exc
