"""The body of an import: settings as JSON, or a multipart body of settings and files that are spooled to disk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from app.errors import BodyTooLarge, InvalidRequest
from app.exact_json import read_json
from app.formats.imports.files import MAX_FILES, Upload
from app.schemas.imports import ImportSettings, StudyImport

MAX_SETTINGS_BYTES = 2**20
Wanted = TypeVar("Wanted", bound=ImportSettings)


@dataclass(frozen=True)
class Parts(Generic[Wanted]):
    """What a caller sent. The files are open until the call is answered."""

    settings: Wanted
    uploads: tuple[Upload, ...] = ()


def parts_of(kind: type[Wanted]) -> Callable[[Request], AsyncIterator[Parts[Wanted]]]:
    """A dependency that reads the body of an import whose settings are ``kind``."""

    async def read(request: Request) -> AsyncIterator[Parts[Wanted]]:
        sent_as = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if sent_as == "multipart/form-data":
            form = await _form(request)
            try:
                yield Parts(_validated(kind, _settings_part(form)), _uploads(form))
            finally:
                await form.close()
        elif sent_as == "application/json":
            yield Parts(_validated(kind, await _bounded(request)))
        else:
            raise InvalidRequest.of(
                "body", f"is sent as {sent_as[:100]!r}", "multipart/form-data with files, or application/json without"
            )

    return read


def documented(kind: str) -> dict[str, Any]:
    """What OpenAPI says of the body; the schema of the settings stands among its components."""
    settings = (StudyImport if kind == "StudyImport" else ImportSettings).model_json_schema(
        ref_template="#/components/schemas/{model}"
    )
    settings.pop("$defs", None)
    files = {"type": "array", "items": {"type": "string", "format": "binary"}, "maxItems": MAX_FILES}
    multipart = {
        "type": "object",
        "required": ["settings"],
        "properties": {"settings": {"type": "string", "contentMediaType": "application/json"}, "files": files},
    }
    encoding = {"settings": {"contentType": "application/json"}}
    content = {
        "application/json": {"schema": settings},
        "multipart/form-data": {"schema": multipart, "encoding": encoding},
    }
    return {"requestBody": {"required": True, "content": content}}


async def _form(request: Request) -> FormData:
    try:
        return await request.form(max_files=MAX_FILES, max_fields=10, max_part_size=MAX_SETTINGS_BYTES)
    except HTTPException as exc:
        if exc.status_code != 400:  # too large or too slow, as app/body_limit.py found
            raise
        raise InvalidRequest.of("body", f"is no multipart body: {exc.detail}", "parts 'settings' and 'files'") from exc


def _settings_part(form: FormData) -> bytes:
    for name in form:
        if name not in ("settings", "files"):
            raise InvalidRequest.of(name[:100] or "body", "is no part of an import", "parts 'settings' and 'files'")
    given = form.getlist("settings")
    if len(given) != 1 or not isinstance(given[0], str):
        raise InvalidRequest.of("settings", "is missing, sent twice or sent as a file", "one part of JSON text")
    return given[0].encode("utf-8", "surrogatepass")


def _uploads(form: FormData) -> tuple[Upload, ...]:
    found = []
    for part in form.getlist("files"):
        if not isinstance(part, UploadFile):
            raise InvalidRequest.of("files", "is sent as text", "files, each with a filename")
        found.append(Upload(part.filename or "", part.file))
    return tuple(found)


async def _bounded(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_SETTINGS_BYTES:
            raise BodyTooLarge(f"the settings are too large; accepted: at most {MAX_SETTINGS_BYTES} bytes")
    return bytes(body)


def _validated(kind: type[Wanted], text: bytes) -> Wanted:
    told = read_json(text, "settings")
    if not isinstance(told, dict):
        raise InvalidRequest.of("settings", "is no object", "a JSON object")
    try:
        return kind.model_validate(told)
    except ValidationError as exc:
        errors = [error | {"loc": ("body", *error["loc"])} for error in exc.errors(include_url=False)]
        raise RequestValidationError(errors) from exc
