"""The weights that training pipelines read."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Response

from app.etags import is_known
from app.routes.dependencies import READ, WRITE, IfNoneMatch, InDatabase, Now, problems
from app.schemas.mixture_choice import AdoptionCreate
from app.schemas.weights import WeightsRead
from app.services import weights

router = APIRouter(tags=["weights"])

# A pipeline behind a cache learns of an adoption this late at most.
MAX_AGE_SECONDS = 10
_CACHE = f"private, max-age={MAX_AGE_SECONDS}, must-revalidate"


@router.post("/recommendations/{recommendation_id}/adopt", dependencies=WRITE, responses=problems(404, 409))
def adopt(recommendation_id: UUID, database: InDatabase, now: Now, body: AdoptionCreate | None = None) -> WeightsRead:
    """Adopt a recommendation: training pipelines read the mixture that it offers, or the one you ask for."""
    wanted = body or AdoptionCreate()
    with database.write() as session:
        return weights.adopt(session, recommendation_id, wanted.mixture, now)


@router.get(
    "/studies/{study_id}/weights",
    dependencies=READ,
    response_model=WeightsRead,
    responses=problems(404),
)
def get_weights(study_id: UUID, database: InDatabase, if_none_match: IfNoneMatch = None) -> Response:
    """Read the adopted weights. Ask with If-None-Match: most answers are 304 then."""
    with database.read() as session:
        adopted = weights.find_adopted(session, study_id)
    etag = f'"{weights.version_of(adopted)}"'
    headers = {"ETag": etag, "Cache-Control": _CACHE}
    if is_known(if_none_match, etag):
        return Response(status_code=304, headers=headers)
    body = weights.read_weights(adopted).model_dump_json()
    return Response(body, headers=headers, media_type="application/json")
