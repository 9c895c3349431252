"""A key in a file, for a program that reads it there: made once, and made anew when it works no longer."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from sqlalchemy.orm import Session

from app.atomic_files import write_secret
from app.schemas.keys import KeyCreate
from app.services.keys import create_key, holder_of_key, revoke_key


def keep_key(session: Session, path: Path, wanted: KeyCreate, now: datetime) -> bool:
    """Make a key and write it to ``path``, which only its owner may read, unless the file holds such a key.

    Raises:
        OSError: the file cannot be read or written; no key is left behind.
        InvalidRequest, Forbidden: as :func:`~app.services.keys.create_key`.

    Returns:
        Whether one was made.
    """
    if _holds(session, path, wanted, now):
        return False
    made = create_key(session, wanted, now)
    try:
        write_secret(path, f"{made.key}\n")
    except BaseException:
        revoke_key(session, made.id, now)  # nobody has seen it
        raise
    return True


def _holds(session: Session, path: Path, wanted: KeyCreate, now: datetime) -> bool:
    """Whether the key in the file works, may do just what is wanted, and sees as much."""
    text = path.read_text(encoding="utf-8", errors="replace").strip() if path.exists() else ""
    found = holder_of_key(session, text, now)
    if found is None:
        return False
    return (found.principal.scopes, found.principal.study_id) == (frozenset(wanted.scopes), wanted.study_id)
