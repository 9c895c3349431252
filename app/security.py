"""Who may call, from where, and what a browser may do with our pages.

Without an API key the service answers on the loopback alone, and only for requests that name the loopback as their
host: a page of another site whose name resolves to 127.0.0.1 (DNS rebinding) is refused. With a key every call under
``/v1`` must carry it. The key is compared in constant time and never logged.
"""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import (
    NotAuthenticated,
    RefusedToStart,
    ServiceError,
    WrongHost,
    WrongOrigin,
)
from app.loopback import is_loopback
from app.principal import Principal
from app.principal import Scope as AccessScope
from app.problems import problem_of
from app.settings import Settings

API_PREFIX = "/v1"
# The holder of the key of the settings, and everybody on a loopback without one.
_OWNER = Principal("owner", frozenset({AccessScope.ADMIN}))
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

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


def check_exposure(settings: Settings) -> None:
    """Refuse settings that would let anyone in.

    Raises:
        RefusedToStart: saying what to set.
    """
    if settings.api_key is not None:
        return
    if not settings.on_loopback:
        raise RefusedToStart(
            f"binding to {settings.host} lets other machines in, so MIXWRIGHT_API_KEY must be set; or bind to 127.0.0.1"
        )
    strangers = [host for host in settings.allowed_hosts if not is_loopback(host)]
    if strangers:
        raise RefusedToStart(
            f"MIXWRIGHT_ALLOWED_HOSTS names {strangers[0]}, which others can reach, so MIXWRIGHT_API_KEY must be set"
        )


class Gate:
    """Middleware: the host, the origin and the key of every request, before anything reads its body."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self._key = settings.api_key.get_secret_value().strip().encode() if settings.api_key else None
        self._hosts = {host.lower().rstrip(".") for host in settings.allowed_hosts}
        # Off the loopback the key protects; names are checked there only when some are listed.
        self._any_host = not settings.on_loopback and not settings.allowed_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                self._check(scope)
            except ServiceError as refusal:
                await problem_of(refusal, scope["path"])(scope, receive, send)
                return
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        await self.app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        self._check_host(headers)
        if scope["method"] not in _SAFE_METHODS:
            _check_origin(headers)
        path = scope["path"]
        scope.setdefault("state", {})["principal"] = _OWNER
        if self._key is None:
            self._check_only_reached_from_here(scope)
        elif path == API_PREFIX or path.startswith(f"{API_PREFIX}/"):
            _check_key(headers, self._key)

    def _check_host(self, headers: Headers) -> None:
        host = _without_port(headers.get("host", ""))
        if not (self._any_host or is_loopback(host) or host in self._hosts):
            raise WrongHost(f"this server does not answer for host {host!r}; list it in MIXWRIGHT_ALLOWED_HOSTS")

    def _check_only_reached_from_here(self, scope: Scope) -> None:
        """Holds even if another server than ours was told to bind this app elsewhere."""
        server = scope.get("server")
        if server and server[1] is not None and not is_loopback(server[0]):
            raise NotAuthenticated("without MIXWRIGHT_API_KEY this service answers on the loopback only")


def _check_origin(headers: Headers) -> None:
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
        raise WrongOrigin


def _check_key(headers: Headers, key: bytes) -> None:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if not hmac.compare_digest(given.strip().encode("utf-8", "replace"), key) or scheme.lower() != "bearer":
        raise NotAuthenticated


def _without_port(host: str) -> str:
    bare = host.strip().lower()
    if bare.startswith("["):
        return bare[: bare.find("]") + 1]
    return bare.partition(":")[0].rstrip(".")


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
