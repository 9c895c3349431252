"""Bodies: API keys. The key itself is in one answer only, that of its creation."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field

from app.principal import Scope
from app.schemas.common import Answer, Body, Moment
from app.schemas.names import NewName

Scopes = Annotated[list[Scope], Field(min_length=1, max_length=len(Scope))]


class KeyCreate(Body):
    name: NewName
    scopes: Scopes
    study_id: UUID | None = Field(default=None, description="binds the key to one study; it sees nothing else")
    expires_at: Moment | None = Field(default=None, description="null: never")


class KeyUpdate(Body):
    """What is left out stays as it is."""

    name: NewName | None = Field(default=None, description="null: as it is")
    expires_at: Moment | None = Field(default=None, description="null: never")


class KeyRead(Answer):
    VOLATILE: ClassVar[frozenset[str]] = frozenset({"last_used_at"})

    id: UUID
    name: str
    scopes: list[Scope]
    study_id: UUID | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="within a minute")


class KeyCreated(KeyRead):
    key: str | None = Field(
        description="shown in this answer only; null where an Idempotency-Key brings the answer a second time"
    )
