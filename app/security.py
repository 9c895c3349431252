"""What a browser may do with our pages, what no log may show, and which services are not started.

Who may call is decided in ``app/gate.py``.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from sqlalchemy import inspect
from sqlalchemy.engine import make_url
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.db import Database
from app.errors import RefusedToStart
from app.models import ApiKey
from app.services.keys import usable_admin_key
from app.settings import Settings

API_PREFIX = "/v1"
LOGIN_PATH = "/login"
LOGOUT_PATH = "/logout"

# Plotly writes inline styles and draws images from data and blob addresses; no script but our own files runs.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def check_exposure(settings: Settings, now: datetime) -> None:
    """Refuse to answer to other machines while nobody could get in. Call it after ``check_version``.

    Raises:
        RefusedToStart: saying what to set.
    """
    if settings.on_loopback or settings.api_key is not None or _has_admin_key(settings, now):
        return
    raise RefusedToStart(
        f"binding to {settings.host} lets other machines in, and no key does: make one with "
        "'mixwright keys create NAME --scope admin', or set MIXWRIGHT_API_KEY, or bind to 127.0.0.1"
    )


def _has_admin_key(settings: Settings, now: datetime) -> bool:
    url = make_url(settings.resolved_database_url)
    if url.get_backend_name() == "sqlite" and not (url.database and Path(url.database).exists()):
        return False
    database = Database(settings.resolved_database_url)
    try:
        with database.read() as session:
            there = inspect(session.connection()).has_table(ApiKey.__tablename__)
            return there and usable_admin_key(session, now) is not None
    finally:
        database.dispose()


class SecurityHeaders:
    """Middleware: the same strict headers on every answer; answers of the API are not cached."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith(API_PREFIX):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self.app(scope, receive, with_headers)


class HiddenLoginToken:
    """Middleware, the outermost: takes the token of a login link out of the path before anything could log it.

    It is then ``scope["state"]["login_token"]``.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        folder = f"{LOGIN_PATH}/"
        if scope["type"] == "http" and scope["path"].startswith(folder):
            scope.setdefault("state", {})["login_token"] = scope["path"].removeprefix(folder)
            scope["path"] = f"{folder}link"
            scope["raw_path"] = scope["path"].encode()
        await self.app(scope, receive, send)
