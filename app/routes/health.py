"""Is the process alive, and can it serve?"""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter
from pydantic import BaseModel

from app.errors import DatabaseUnavailable
from app.migrate import current_revision, head_revision
from app.routes.dependencies import InDatabase, problems

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
