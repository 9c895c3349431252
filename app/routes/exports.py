"""Recommendations in the formats of trainers."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response

from app.attachments import MEDIA_TYPES, attachment_of
from app.errors import InvalidRequest
from app.etags import etag_of
from app.routes.dependencies import READ, InDatabase, Tagged, problems
from app.routes.known_parameters import ONLY_KNOWN
from app.schemas.common import Page
from app.schemas.exports import ExportFormatRead, ExportRead
from app.schemas.mixture_choice import WantedMixture
from app.services import exports

router = APIRouter(tags=["exports"])

# Parameters of the call; all others are options of the format.
_OWN = frozenset({"download", "mixture"})
_DOWNLOADS: dict[int | str, dict[str, Any]] = {200: {"content": {media_type: {} for media_type in MEDIA_TYPES}}}


# Known ones only; another is answered with 404.
_FormatName = Annotated[str, Path(json_schema_extra={"enum": [each.name for each in exports.list_formats().items]})]


def _option_parameters() -> list[dict[str, Any]]:
    """The options of all formats, as the API's description lists query parameters."""
    found: dict[str, dict[str, Any]] = {}
    for export_format in exports.list_formats().items:
        for option in export_format.options:
            told = found.setdefault(
                option.name,
                {"name": option.name, "in": "query", "required": False, "schema": {"type": option.type}, "for": []},
            )
            told["for"].append(export_format.name)
            told["description"] = option.about
    return [
        {key: value for key, value in told.items() if key != "for"}
        | {"description": f"{told['description']} (formats: {', '.join(told['for'])})"}
        for told in found.values()
    ]


def _given(request: Request) -> dict[str, str]:
    """The options of the query.

    Raises:
        InvalidRequest: one is there twice.
    """
    pairs = [(name, value) for name, value in request.query_params.multi_items() if name not in _OWN]
    given = dict(pairs)
    twice = next((name for name in given if sum(name == other for other, _ in pairs) > 1), None)
    if twice is not None:
        raise InvalidRequest.of(twice, "is given more than once", "one value")
    return given


@router.get("/exports", dependencies=[*READ, ONLY_KNOWN], responses=problems())
def list_export_formats() -> Page[ExportFormatRead]:
    """List the formats that a recommendation can be written in, and the options of each."""
    return exports.list_formats()


@router.get(
    "/recommendations/{recommendation_id}/exports/{format_name}",
    dependencies=READ,
    response_model=ExportRead,
    responses=_DOWNLOADS | problems(404, 409),
    openapi_extra={"parameters": _option_parameters()},
)
def export_recommendation(
    recommendation_id: UUID,
    format_name: _FormatName,
    request: Request,
    database: InDatabase,
    tag: Tagged,
    mixture: Annotated[
        WantedMixture | None,
        Query(description="left out: the adopted one where this recommendation is adopted, else the recommended one"),
    ] = None,
    download: Annotated[bool, Query(description="the file itself, or an archive of several")] = False,
) -> ExportRead | Response:
    """Write a recommendation for a trainer, with the epochs that it implies and what to know of its weights."""
    with database.read() as session:
        made = tag(exports.export_recommendation(session, recommendation_id, format_name, _given(request), mixture))
    return _download(made) if download else made


def _download(made: ExportRead) -> Response:
    files = [(file.name, file.text) for file in made.files]
    saved = attachment_of(f"{made.format}-{made.recommendation_id}", files)
    headers = {"Content-Disposition": f'attachment; filename="{saved.filename}"', "ETag": etag_of(made)}
    return Response(saved.content, media_type=saved.media_type, headers=headers)
