"""RFC 9457 problem bodies: every refusal says which field was wrong and what would be accepted."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import iter_route_contexts
from sqlalchemy.exc import DataError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from app.errors import (
    BodyTooLarge,
    DatabaseUnavailable,
    FieldError,
    InvalidRequest,
    NotAuthenticated,
    ServiceError,
    StorageFull,
    TooManyRequests,
    status_of,
    title_of,
)
from app.etags import NotModified
from app.schemas.common import Problem
from mixers.errors import MixError

PROBLEM_JSON = "application/problem+json"
# A body of ten thousand wrong runs would be answered by ten thousand errors.
MOST_ERRORS = 20
# PostgreSQL's code of the error.
_DISK_FULL = "53100"

log = structlog.get_logger(__name__)


def problem_response(
    status: int,
    kind: str,
    title: str,
    detail: str,
    *,
    instance: str | None = None,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """A response whose body is a :class:`~app.schemas.Problem`; ``kind`` names the problem in its ``type``."""
    body = Problem(
        type=f"urn:mixwright:problem:{kind}",
        title=title,
        status=status,
        detail=detail,
        instance=instance,
        errors=[error.as_dict() for error in errors[:MOST_ERRORS]] or None,
    )
    return JSONResponse(
        body.model_dump(mode="json", exclude_none=True), status, dict(headers or {}), media_type=PROBLEM_JSON
    )


def problem_of(error: ServiceError | MixError, instance: str | None = None) -> JSONResponse:
    """The answer to an error of the service or of the mathematics."""
    errors, detail = (error.errors, error.detail) if isinstance(error, ServiceError) else ((), str(error))
    headers = _headers_of(error)
    return problem_response(
        status_of(error),
        _kebab(type(error).__name__),
        title_of(type(error)),
        detail,
        instance=instance,
        errors=errors,
        headers=headers,
    )


def database_failure(exc: Exception) -> ServiceError:
    """What a failure of the database means for the caller; logged, for its text may name hosts and files."""
    log.error("The database failed", action="database_failed", error=str(exc.__cause__ or exc))
    cause = getattr(exc, "orig", None)
    full = (
        getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        or getattr(cause, "sqlstate", None) == _DISK_FULL
    )
    return StorageFull() if full else DatabaseUnavailable()


def _headers_of(error: Exception) -> dict[str, str]:
    if isinstance(error, NotAuthenticated):
        return {"WWW-Authenticate": "Bearer"}
    if isinstance(error, TooManyRequests):
        return {"Retry-After": str(error.retry_after_seconds)}
    if isinstance(error, BodyTooLarge):
        return {"Connection": "close"}  # else the rest of the body would still be taken in
    if isinstance(error, DatabaseUnavailable):
        return {"Retry-After": "1"}
    return {}


def install_problem_handlers(app: FastAPI) -> None:
    """Make every refusal of ``app`` a problem body."""

    async def known(request: Request, exc: Exception) -> JSONResponse:
        assert isinstance(exc, ServiceError | MixError)
        return problem_of(exc, request.url.path)

    async def invalid(request: Request, exc: Exception) -> JSONResponse:
        assert isinstance(exc, RequestValidationError)
        return problem_of(_from_validation(exc.errors()), request.url.path)

    async def http(request: Request, exc: Exception) -> JSONResponse:
        assert isinstance(exc, HTTPException)
        return _from_http(exc, request)

    async def database(request: Request, exc: Exception) -> JSONResponse:
        return problem_of(database_failure(exc), request.url.path)

    async def unstorable(request: Request, exc: Exception) -> JSONResponse:
        del exc  # its text quotes the statement, which is not the caller's business
        return problem_of(
            InvalidRequest("a value cannot be stored; a text holds a NUL character, or a number is too large"),
            request.url.path,
        )

    async def not_modified(request: Request, exc: Exception) -> Response:
        del request
        assert isinstance(exc, NotModified)
        return Response(status_code=304, headers={"ETag": exc.etag})

    app.add_exception_handler(NotModified, not_modified)
    app.add_exception_handler(ServiceError, known)
    app.add_exception_handler(MixError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(OperationalError, database)
    app.add_exception_handler(PoolTimeout, database)
    app.add_exception_handler(DataError, unstorable)


def _from_http(exc: HTTPException, request: Request) -> JSONResponse:
    path = request.url.path
    if exc.status_code == 404:
        exc.detail = f"nothing is at {path}; the API is under /v1 and described by /v1/openapi.json"
    elif exc.status_code == 405:
        exc.headers = {"Allow": _methods_of(request) or "GET"}  # what is mounted are files
        exc.detail = f"{path} does not take {request.method}; accepted: {exc.headers['Allow']}"
    return problem_of_http(exc, path)


def _methods_of(request: Request) -> str:
    """What the address takes. The framework names those of one route only, where each method has its own."""
    methods: set[str] = set()
    for route in iter_route_contexts(request.app.routes):
        if route.path and compile_path(route.path)[0].fullmatch(request.url.path):
            methods |= set(route.methods or ())
    return ", ".join(sorted(methods))


def problem_of_http(exc: HTTPException, instance: str) -> JSONResponse:
    """The answer to an error of the framework, named by its status."""
    title = HTTPStatus(exc.status_code).phrase
    kind = _kebab(title.title().replace(" ", ""))
    return problem_response(exc.status_code, kind, title, str(exc.detail), instance=instance, headers=exc.headers)


def _from_validation(found: Sequence[Mapping[str, Any]]) -> InvalidRequest:
    errors = [_field_error(error) for error in found]
    first, more = errors[0], len(errors) - 1
    detail = f"{first.field}: {first.message}" + (f" (and {more} more)" if more else "")
    return InvalidRequest(detail, errors=errors)


def _field_error(error: Mapping[str, Any]) -> FieldError:
    """Pydantic's error in our words: the path without the leading ``body`` and what would be accepted."""
    where = [str(part) for part in error["loc"]]
    if error["type"] == "json_invalid":
        reason = error.get("ctx", {}).get("error", "")
        return FieldError("body", f"is not JSON at character {where[-1]}: {reason}", "a JSON object")
    if len(where) == 1 and where[0] == "body":
        return FieldError(
            "body", "is missing or is not sent as JSON", "a JSON object with Content-Type: application/json"
        )
    field = ".".join(where[1:]) if where[0] in ("body", "query", "path", "header") else ".".join(where)
    message = str(error["msg"]).removeprefix("Value error, ")
    return FieldError(field, message[:1].lower() + message[1:], _accepted(error))


def _accepted(error: Mapping[str, Any]) -> str | None:
    """What pydantic's context says about the accepted values, where its message does not end with that already."""
    context = error.get("ctx") or {}
    if error["type"] == "extra_forbidden":
        return "the fields that /v1/openapi.json lists"
    if error["type"] == "missing":
        return "a value"
    return str(context["expected"]) if "expected" in context else None


def _kebab(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()
