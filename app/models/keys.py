"""Tables: API keys and the logins made with them. Secrets are stored as hashes only."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base


class ApiKey(Base):
    """A key with scopes. ``study_id`` binds it to one study.

    ``secret_hash`` is the SHA-256 of 256 random bits, which no dictionary holds: a slow password hash would add time
    to every call and no safety.
    """

    __tablename__ = "api_keys"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    secret_hash: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[list[Any]]
    study_id: Mapped[UUID | None] = mapped_column(ForeignKey("studies.id"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class Login(Base):
    """A browser's cookie (``kind`` is ``cookie``) or a link that can be exchanged for one, once (``link``).

    ``key_id`` is null for the key of the settings; ``key_hash`` is that of the key's secret when the login was made.
    """

    __tablename__ = "logins"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    key_id: Mapped[UUID | None] = mapped_column(ForeignKey("api_keys.id"))
    key_hash: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
