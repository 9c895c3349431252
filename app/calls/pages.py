"""Lists that come in pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from app.schemas.common import Page

Item = TypeVar("Item")


def walked(read: Callable[[str | None], Page[Item]]) -> Iterator[Item]:
    """Every item of a list; ``read`` gives the page at a cursor."""
    cursor: str | None = None
    while True:
        page = read(cursor)
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return
