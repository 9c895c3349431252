"""Answers of the service: typed bodies, refusals as exceptions, downloads."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from app.calls.errors import Changed, ClientError, Conflict, NotAllowed, NotFound, Refused, Unreachable
from app.schemas.common import Problem

Answer = TypeVar("Answer", bound=BaseModel)

_REFUSALS: dict[int, type[Refused]] = {
    HTTPStatus.UNAUTHORIZED: NotAllowed,
    HTTPStatus.FORBIDDEN: NotAllowed,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.CONFLICT: Conflict,
    HTTPStatus.PRECONDITION_FAILED: Changed,
}


@dataclass(frozen=True)
class Download:
    """A file that the service wrote, and the name that it suggests."""

    filename: str
    content: bytes


def checked(response: httpx.Response) -> httpx.Response:
    """The answer, whose body must have been read.

    Raises:
        Refused: with the sentence of the problem body.
    """
    if response.is_success:
        return response
    problem = _problem(response)
    raise _REFUSALS.get(problem.status, Refused)(problem)


def parsed(response: httpx.Response, answer: type[Answer]) -> Answer:
    """The body as a record.

    Raises:
        ClientError: it is something else.
    """
    return parsed_text(f"{response.request.method} {response.request.url}", response.content, answer)


def parsed_text(call: str, content: bytes | str, answer: type[Answer]) -> Answer:
    """As :func:`parsed`, of a part of the answer to ``call``."""
    try:
        return answer.model_validate_json(content)
    except ValidationError as exc:
        raise ClientError(f"{call} answered something that is not Mixwright's, or of another version") from exc


def download_of(response: httpx.Response) -> Download:
    """The body as a file; its name never leads out of a folder."""
    named = re.search(r'filename="([^"/\\]+)"', response.headers.get("Content-Disposition", ""))
    name = named.group(1).lstrip(".") if named else ""
    return Download(name or response.url.path.rpartition("/")[2] or "download", response.content)


def unreachable(request: httpx.Request, exc: httpx.TransportError) -> Unreachable:
    """The sentence of a connection that failed."""
    return Unreachable(f"{request.method} {request.url} got no answer: {str(exc) or type(exc).__name__}")


def retry_after(response: httpx.Response) -> float | None:
    """The seconds that the service asks us to wait."""
    given = response.headers.get("Retry-After", "")
    return float(given) if given.isdigit() else None


def _problem(response: httpx.Response) -> Problem:
    try:
        return Problem.model_validate_json(response.content)
    except ValidationError:
        # Not our service: a proxy in between, or another program on that port.
        phrase = response.reason_phrase or "no reason given"
        detail = f"{response.request.url} answered {response.status_code} ({phrase}) without saying why"
        return Problem(type="about:blank", title=phrase, status=response.status_code, detail=detail)
