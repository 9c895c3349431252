"""Cursor pages. A cursor is the key of the last item of a page, so that a page costs the same however deep it lies."""

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
Key = TypeVar("Key", UUID, int, str)
Rows = TypeVar("Rows", bound=Select[*tuple[Any, ...]])

_INT_BYTES = 8


def page(
    session: Session,
    rows: Select[Row],
    key: InstrumentedAttribute[Key],
    limit: int,
    cursor: str | None,
    read: Callable[[Sequence[Row]], list[Item]],
    newest_first: bool = False,
) -> Page[Item]:
    """The rows after ``cursor`` in the order of ``key``, which no two of them share, read by ``read``.

    Raises:
        InvalidRequest: a cursor that no page gave.
    """
    found = session.scalars(one_page(rows, key, limit, cursor, newest_first)).unique().all()
    kept = found[:limit]
    more = _encode(_key(kept[-1], key)) if len(found) > limit else None
    return Page(items=read(kept), next_cursor=more)


def one_page(
    rows: Rows, key: InstrumentedAttribute[Key], limit: int, cursor: str | None, newest_first: bool = False
) -> Rows:
    """The statement of a page, and of one row more: whether it comes says whether there is another page."""
    if cursor is not None:
        last = _decode(cursor, key)
        rows = rows.where(key < last if newest_first else key > last)
    return rows.order_by(key.desc() if newest_first else key.asc()).limit(limit + 1)


def _key(row: Any, key: InstrumentedAttribute[Key]) -> UUID | int | str:
    return getattr(row, key.key)


def _encode(last: UUID | int | str) -> str:
    if isinstance(last, str):
        raw = last.encode()
    else:
        raw = last.bytes if isinstance(last, UUID) else last.to_bytes(_INT_BYTES, "big")
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decode(cursor: str, key: InstrumentedAttribute[Key]) -> UUID | int | str:
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        if key.type.python_type is UUID:
            return UUID(bytes=raw)
        if key.type.python_type is str:
            return _text(raw)
        if len(raw) != _INT_BYTES or raw[0] & 0x80:
            raise ValueError("not a number that a column holds")
        return int.from_bytes(raw, "big")
    except (binascii.Error, ValueError) as exc:
        raise InvalidRequest.of("cursor", "is not one of ours", "the next_cursor of the page before") from exc


def _text(raw: bytes) -> str:
    text = raw.decode()
    if "\0" in text:
        raise ValueError("not a text that a column holds")
    return text
