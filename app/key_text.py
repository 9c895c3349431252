"""API keys as their holders see them: ``mw_<id>_<secret>``.

The id finds the row; the secret is 32 random bytes in base64url, of which only the SHA-256 is stored. 256 random bits
cannot be guessed, so a slow password hash would add time to every call and no safety.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from uuid import UUID

_SECRET_BYTES = 32
_FORM = re.compile(r"mw_([0-9a-f]{32})_([A-Za-z0-9_-]{43})")


def new_secret() -> str:
    """32 random bytes in base64url: 43 characters."""
    return secrets.token_urlsafe(_SECRET_BYTES)


def write_key(key_id: UUID, secret: str) -> str:
    """The key as its holder keeps it."""
    return f"mw_{key_id.hex}_{secret}"


def read_key(text: str) -> tuple[UUID, str] | None:
    """(id, secret) of a key; None for a text of another form."""
    found = _FORM.fullmatch(text)
    return None if found is None else (UUID(hex=found.group(1)), found.group(2))


def hash_of(secret: str | bytes) -> str:
    """What is stored of a secret: its SHA-256 in hexadecimal digits."""
    return hashlib.sha256(secret.encode() if isinstance(secret, str) else secret).hexdigest()
