"""Cursor pages. A cursor is the last identifier of a page, so that a page costs the same however deep it lies."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.errors import InvalidRequest
from app.schemas.common import Page

Row = TypeVar("Row")
Item = TypeVar("Item")


def page(
    session: Session,
    rows: Select[Row],
    key: InstrumentedAttribute[UUID],
    limit: int,
    cursor: str | None,
    read: Callable[[Sequence[Row]], list[Item]],
    newest_first: bool = False,
) -> Page[Item]:
    """The rows after ``cursor`` in the order of ``key``, read by ``read``.

    Raises:
        InvalidRequest: a cursor that no page gave.
    """
    if cursor is not None:
        last = _decode(cursor)
        rows = rows.where(key < last if newest_first else key > last)
    ordered = rows.order_by(key.desc() if newest_first else key.asc()).limit(limit + 1)
    found = session.scalars(ordered).unique().all()
    kept = found[:limit]
    more = _encode(_id(kept[-1], key)) if len(found) > limit else None
    return Page(items=read(kept), next_cursor=more)


def _id(row: Any, key: InstrumentedAttribute[UUID]) -> UUID:
    return getattr(row, key.key)


def _encode(last: UUID) -> str:
    return base64.urlsafe_b64encode(last.bytes).decode().rstrip("=")


def _decode(cursor: str) -> UUID:
    try:
        return UUID(bytes=base64.b64decode(cursor + "==", altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as exc:
        raise InvalidRequest.of("cursor", "is not one of ours", "the next_cursor of the page before") from exc
