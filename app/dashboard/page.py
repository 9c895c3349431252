"""Renders the pages of the dashboard."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from fastapi.templating import Jinja2Templates

from app.dashboard.plotly_bundle import bundle_version
from app.principal import Principal, Scope

_templates = Jinja2Templates(directory=Path(__file__).parent / "templates")
_HEADERS = {
    # Pages name who is logged in; no cache keeps them.
    "Cache-Control": "no-store",
    # Without a referrer a browser hides the origin of a form, by which we know that it is ours.
    "Referrer-Policy": "same-origin",
}


def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page; ``caller`` is who is logged in, ``may`` the scopes that its key has or includes."""
    caller: Principal = request.state.principal
    context = {
        "version": version("mixwright"),
        "plotly": f"/plotly/{bundle_version()}/plotly.min.js",
        "caller": caller,
        "may": " ".join(scope for scope in Scope if caller.may(scope)),
        **values,
    }
    return _templates.TemplateResponse(request, template, context, status, headers=_HEADERS)
