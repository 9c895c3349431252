"""Versions of what callers read: ``ETag``, ``If-None-Match`` and ``If-Match`` (RFC 9110, section 13).

A tag has two parts. The first is a hash of what callers can change; a change with ``If-Match`` is refused when that
part has moved on. The second also covers what moves by itself (a study's numbers of runs, say); only an answer that is
equal in both is left out with 304.
"""

from __future__ import annotations

import hashlib
from typing import TypeVar

from pydantic import BaseModel

from app.errors import PreconditionFailed, PreconditionRequired

Body = TypeVar("Body", bound=BaseModel)


def etag_of(body: BaseModel) -> str:
    """The tag of an answer. Its ``VOLATILE`` names what moves by itself: a ``field``, or ``field.part`` of one."""
    volatile: frozenset[str] = getattr(body, "VOLATILE", frozenset())
    return f'"{_hash(body, volatile)}.{_hash(body, frozenset())}"'


def _hash(body: BaseModel, without: frozenset[str]) -> str:
    fields = {name for name in without if "." not in name}
    parts: dict[str, set[str]] = {}
    for name in without - fields:
        field, _, part = name.partition(".")
        parts.setdefault(field, set()).add(part)
    exclude = dict.fromkeys(fields, True) | parts
    return hashlib.sha256(body.model_dump_json(exclude=exclude).encode()).hexdigest()[:16]


class NotModified(Exception):
    """The caller has this version already; answered with 304."""

    def __init__(self, etag: str) -> None:
        super().__init__(etag)
        self.etag = etag


def is_known(if_none_match: str | None, etag: str) -> bool:
    """Whether the caller's ``If-None-Match`` names this tag."""
    given = _tags(if_none_match)
    return etag in given or "*" in given


class Precondition:
    """The ``If-Match`` of a call that changes something."""

    def __init__(self, if_match: str | None) -> None:
        self._given = _tags(if_match)

    def require(self, current: Body) -> Body:
        """``current``, when it is what the caller has read.

        Raises:
            PreconditionRequired: the call names no version.
            PreconditionFailed: it was changed since.
        """
        if not self._given:
            raise PreconditionRequired
        if "*" not in self._given and _stable(etag_of(current)) not in {_stable(tag) for tag in self._given}:
            raise PreconditionFailed(
                f"it has changed since it was read: its ETag is {etag_of(current)}; read it again and repeat the change"
            )
        return current

    def require_nothing(self) -> None:
        """For a call that makes what it names.

        Raises:
            PreconditionFailed: the caller names a version of it.
        """
        if self._given:
            raise PreconditionFailed("there is no such thing yet, so no version of it: leave If-Match out")


def _stable(tag: str) -> str:
    return tag.strip('"').partition(".")[0]


def _tags(header: str | None) -> list[str]:
    return [tag.strip().removeprefix("W/") for tag in (header or "").split(",") if tag.strip()]
