"""Bodies of calls out of what a person typed or keeps in files; every complaint names the place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from app.calls.errors import ClientError

Body = TypeVar("Body", bound=BaseModel)


def body_of(kind: type[Body], fields: object, where: str) -> Body:
    """``fields`` as a body.

    Raises:
        ClientError: naming the first field that is wrong; ``where`` is put before it.
    """
    try:
        return kind.model_validate(fields)
    except ValidationError as exc:
        wrong = exc.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in wrong["loc"])
        reason = wrong["msg"].removeprefix("Value error, ")
        raise ClientError(f"{where}{f', {place}' if place else ''}: {reason[:1].lower()}{reason[1:]}") from exc


def read_json(path: Path) -> Any:
    """The document of a JSON file.

    Raises:
        ClientError: naming line and column. OSError: it cannot be read.
    """
    try:
        return json.loads(path.read_bytes())
    except json.JSONDecodeError as exc:
        raise ClientError(f"{path}, line {exc.lineno}, column {exc.colno}: {exc.msg}") from exc
    except (UnicodeDecodeError, RecursionError) as exc:
        raise ClientError(f"{path} is no JSON file: {exc}") from exc


def read_body(kind: type[Body], path: Path) -> Body:
    """The body in a JSON file."""
    return body_of(kind, read_json(path), str(path))


def scalars(texts: Mapping[str, str]) -> dict[str, Any]:
    """Values as JSON reads them (numbers, true, false, lists), else as text."""
    return {name: _scalar(text) for name, text in texts.items()}


def _scalar(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
