"""Is the process alive, can it serve, and how much does it do?"""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from app.errors import DatabaseUnavailable
from app.migrate import current_revision, head_revision
from app.routes.dependencies import READ, InDatabase, problems
from app.services.access import check_unbound

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """The state of the process."""

    status: str
    version: str


@router.get("/healthz")
async def healthz() -> Health:
    """The process answers."""
    return Health(status="ok", version=version("mixwright"))


@router.get("/readyz", responses=problems(503))
def readyz(database: InDatabase) -> Health:
    """The database answers and has the revision that this version needs."""
    with database.engine.connect() as connection:
        revision = current_revision(connection)
    if revision != head_revision():
        raise DatabaseUnavailable(f"the database is of revision {revision}; run 'mixwright db upgrade'")
    return Health(status="ready", version=version("mixwright"))


@router.get("/metrics", dependencies=READ, response_class=Response, responses=problems())
def metrics(request: Request, database: InDatabase) -> Response:
    """Numbers for Prometheus, which sends a key with the scope read as its bearer token."""
    with database.read() as session:
        check_unbound(session, "read the numbers of the whole service")
    return Response(generate_latest(request.app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)
