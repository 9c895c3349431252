"""Table: the answers of calls that carried an Idempotency-Key."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base


class IdempotentCall(Base):
    """Written in the transaction of the call's own changes, so that both are there or neither.

    ``fingerprint`` is the SHA-256 of the method, address and body. ``body`` is the answer, compressed.
    """

    __tablename__ = "idempotent_calls"
    __table_args__ = (Index("ix_idempotent_calls_age", "created_at"),)

    caller: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    status: Mapped[int]
    headers: Mapped[list[Any]]
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]
