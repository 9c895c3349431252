"""The description of the API, ``/v1/openapi.json``.

Routes say what is theirs. What follows for many of them from their method, parameters or bodies is added here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from app.event_streams import EventStream
from app.idempotency import KEY_PATTERN
from app.openapi_examples import EXAMPLES
from app.problems import PROBLEM_JSON
from app.schemas.common import Problem
from app.security import API_PREFIX

Document = dict[str, Any]

_PROBLEM = {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}}
_KEY = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key. What it may do follows from its scopes; one that is bound to a study sees that only.",
}
_ETAG = {
    "ETag": {
        "description": "The version, for If-Match and If-None-Match.",
        "required": True,
        "schema": {"type": "string"},
    }
}
_IDEMPOTENCY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "pattern": KEY_PATTERN},
    "description": "The call is carried out once. Sent again with the same key within a day, it gets the first answer "
    "and the header Idempotency-Replayed; the same key with another call is refused.",
}
# One event of a stream; the keyword for it is that of OpenAPI 3.2.
_EVENT = {
    "type": "object",
    "properties": {
        "event": {"type": "string", "description": "the kind of the event"},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "id": {"type": "string", "description": "to be sent as Last-Event-ID, to go on after this event"},
    },
    "required": ["event", "data"],
}
# The paths that ask for no key.
_OPEN = ("/healthz", "/readyz")
_ONLY_WITH_KEY = ("401", "403", "429")


def operation_id(route: APIRoute) -> str:
    """The name of the function, which generated clients take for that of a method."""
    return route.name


def describe(app: FastAPI) -> Callable[[], Document]:
    """What takes the place of ``app.openapi``."""
    told_by_routes = app.openapi

    def document() -> Document:
        if app.openapi_schema is None:
            _complete(told_by_routes())
        assert app.openapi_schema is not None
        return app.openapi_schema

    return document


def _complete(document: Document) -> None:
    components = document["components"]
    components["schemas"]["Problem"] = Problem.model_json_schema()
    components["securitySchemes"] = {"key": _KEY}
    document["security"] = [{"key": []}]
    for path, method, operation in _operations(document):
        if path in _OPEN:
            operation["security"] = []
            for status in _ONLY_WITH_KEY:
                operation["responses"].pop(status, None)
        if path.startswith(API_PREFIX):
            _add_headers(method, operation)
            _add_answers(method, operation)
            _add_stream(operation)
            _add_examples(operation)


def _operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _add_headers(method: str, operation: Document) -> None:
    if method == "post":
        operation.setdefault("parameters", []).append(_IDEMPOTENCY)
    if _takes(operation, "If-Match") or (method == "get" and _takes(operation, "If-None-Match")):
        for status in ("200", "201"):
            if status in operation["responses"]:
                operation["responses"][status].setdefault("headers", {}).update(_ETAG)


def _add_answers(method: str, operation: Document) -> None:
    """The answers that no single route gives: they come from reading the body, from the middleware or from the disk."""
    further: list[HTTPStatus] = []
    if "requestBody" in operation:
        further.append(HTTPStatus.REQUEST_TIMEOUT)
    if method == "post":  # another call with the key may be under way
        further += [HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT]
    if method != "get":
        further.append(HTTPStatus.INSUFFICIENT_STORAGE)
    elif _takes(operation, "If-None-Match"):
        operation["responses"]["304"] = {"description": "The caller has this version already"}
    for status in further:
        told = {"description": status.phrase, "content": _PROBLEM}
        operation["responses"].setdefault(str(status.value), told)
    operation["responses"] = dict(sorted(operation["responses"].items()))


def _add_stream(operation: Document) -> None:
    content = operation["responses"].get("200", {}).get("content", {})
    if EventStream.media_type in content:
        content[EventStream.media_type] = {"itemSchema": _EVENT}


def _add_examples(operation: Document) -> None:
    body = EXAMPLES.get(operation["operationId"])
    if body is not None:
        operation["requestBody"]["content"]["application/json"]["example"] = body


def _takes(operation: Document, header: str) -> bool:
    return any(given["in"] == "header" and given["name"] == header for given in operation.get("parameters", ()))
