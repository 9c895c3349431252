"""Logins of people: a link that can be used once, and the cookie that a browser gets for it or for a key.

Both are 32 random bytes of which the SHA-256 is stored. A login ends with the key that it was made with.
"""

from __future__ import annotations

import hmac
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from app.errors import NotAuthenticated
from app.ids import new_id
from app.key_text import hash_of, new_secret
from app.models import ApiKey, Login
from app.services.events import record
from app.services.keys import Holder, holder, is_usable

LINK_LIVES = timedelta(minutes=15)
LOGIN_LIVES = timedelta(hours=12)


class LoginKind(StrEnum):
    """What a token is good for."""

    LINK = "link"  # one exchange for a cookie
    COOKIE = "cookie"  # every call of a browser


def make_link(session: Session, who: Holder, now: datetime) -> str:
    """The token of a link that logs ``who`` in, once."""
    _forget_old(session, now)
    token = _add(session, LoginKind.LINK, who, now, LINK_LIVES)
    session.commit()
    return token


def log_in(session: Session, who: Holder, now: datetime) -> str:
    """The token of a cookie for ``who``."""
    _forget_old(session, now)
    token = _add(session, LoginKind.COOKIE, who, now, LOGIN_LIVES)
    _record(session, "login.created", who, now)
    session.commit()
    return token


def redeem_link(session: Session, token: str, owner: Holder | None, now: datetime) -> tuple[Holder, str]:
    """(whose link it was, the token of a cookie).

    Args:
        owner: the holder of the key of the settings, if there is one.

    Raises:
        NotAuthenticated: it is not a link of ours, it is too old, or it was used.
    """
    who = _holder_of(session, LoginKind.LINK, token, owner, now)
    used = update(Login).where(Login.token_hash == hash_of(token), Login.used_at.is_(None)).values(used_at=now)
    # Of two that use it at the same time, one changes the row.
    if who is None or session.connection().execute(used).rowcount != 1:
        raise NotAuthenticated("this link was used, is too old, or was never one; 'mixwright login-link' makes another")
    return who, log_in(session, who, now)


def holder_of_login(session: Session, token: str, owner: Holder | None, now: datetime) -> Holder | None:
    """Whose cookie ``token`` is; None for one that is wrong, too old or logged out, or whose key has ended."""
    return _holder_of(session, LoginKind.COOKIE, token, owner, now)


def log_out(session: Session, token: str, owner: Holder | None, now: datetime) -> None:
    """Make a cookie useless; one that is so already stays so."""
    who = holder_of_login(session, token, owner, now)
    if who is not None:
        session.execute(update(Login).where(Login.token_hash == hash_of(token)).values(revoked_at=now))
        _record(session, "login.ended", who, now)
        session.commit()


def _holder_of(session: Session, kind: LoginKind, token: str, owner: Holder | None, now: datetime) -> Holder | None:
    row = session.execute(
        select(Login, ApiKey)
        .outerjoin(ApiKey, Login.key_id == ApiKey.id)
        .where(Login.token_hash == hash_of(token), Login.kind == kind.value)
    ).one_or_none()
    if row is None:
        return None
    login, key = row
    if login.expires_at <= now or login.used_at is not None or login.revoked_at is not None:
        return None
    if key is not None and not is_usable(key, now):
        return None
    who = owner if login.key_id is None else holder(key)
    # Another key in the settings ends the logins that were made with the one before.
    return who if who is not None and hmac.compare_digest(who.key_hash, login.key_hash) else None


def _add(session: Session, kind: LoginKind, who: Holder, now: datetime, lives: timedelta) -> str:
    token = new_secret()
    session.add(
        Login(
            id=new_id(now),
            kind=kind.value,
            token_hash=hash_of(token),
            key_id=who.principal.key_id,
            key_hash=who.key_hash,
            created_at=now,
            expires_at=now + lives,
            used_at=None,
            revoked_at=None,
        )
    )
    return token


def _record(session: Session, kind: str, who: Holder, now: datetime) -> None:
    principal = who.principal
    data = {"name": principal.name}
    record(session, kind, now, study_id=principal.study_id, subject_id=principal.key_id, data=data)


def _forget_old(session: Session, now: datetime) -> None:
    session.execute(delete(Login).where(Login.expires_at < now))
