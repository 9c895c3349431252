"""The dashboard's pages and files. The pages carry no data: they load it from the API with the reader's cookie."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import FileResponse, HTMLResponse
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

from app.dashboard import login
from app.dashboard.page import page
from app.dashboard.plotly_bundle import bundle_gzip, bundle_path, bundle_version
from app.errors import NotFound

_HERE = Path(__file__).parent
_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_FIRST = "no-cache"  # kept, but used only after the server said that it has not changed

router = APIRouter(include_in_schema=False)


def mount(app: FastAPI) -> None:
    """Add the pages, their styles and modules, and Plotly's bundle to ``app``."""
    app.include_router(router)
    app.include_router(login.router)
    app.mount("/static", _Modules(directory=_HERE / "static"), name="static")


class _Modules(StaticFiles):
    """Modules name each other without a version, so a browser must ask whether one has changed."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = _ASK_FIRST
        return response


@router.get("/")
def studies_page(request: Request) -> HTMLResponse:
    """The list of studies."""
    return page(request, "studies.html")


@router.get("/studies/{study_id}")
def study_page(request: Request, study_id: str) -> HTMLResponse:
    """One study. Whether it exists is said by the API, which also knows whether the caller may know."""
    return page(request, "study.html", study_id=study_id)


@router.get("/studies/{study_id}/imports")
def imports_page(request: Request, study_id: str) -> HTMLResponse:
    """Takes runs of files and trackers into a study, and shows what became of each."""
    return page(request, "imports.html", study_id=study_id)


@router.get("/studies/{study_id}/schedules")
def schedules_page(request: Request, study_id: str) -> HTMLResponse:
    """What a study does by the clock."""
    return page(request, "schedules.html", study_id=study_id)


@router.get("/studies/{study_id}/events")
def study_events_page(request: Request, study_id: str) -> HTMLResponse:
    """Who changed what in a study."""
    return page(request, "events.html", study_id=study_id)


@router.get("/events")
def events_page(request: Request) -> HTMLResponse:
    """Who changed what in the service."""
    return page(request, "events.html", study_id="")


@router.get("/agents")
def agents_page(request: Request) -> HTMLResponse:
    """The processes that train runs."""
    return page(request, "agents.html")


@router.get("/keys")
def keys_page(request: Request) -> HTMLResponse:
    """The keys of the service; the API shows them to administrators."""
    return page(request, "keys.html")


@router.get("/plotly/{bundle}/plotly.min.js")
def plotly_bundle(request: Request, bundle: str) -> Response:
    """Plotly's bundle of the installed version, compressed when the browser takes it."""
    path = bundle_path()
    if path is None or bundle != bundle_version():
        raise NotFound(f"there is no Plotly bundle {bundle!r}; the installed version is {bundle_version()}")
    headers = {"Cache-Control": _FOR_EVER, "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        packed = headers | {"Content-Encoding": "gzip"}
        return Response(bundle_gzip(), media_type="text/javascript", headers=packed)
    return FileResponse(path, media_type="text/javascript", headers=headers)
