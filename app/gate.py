"""The gate: every request names a host of ours, comes from no other site, and carries a key or a login.

Open to all are the health of the process, the dashboard's files and the way to log in. A page of another site whose
name resolves to 127.0.0.1 (DNS rebinding) is stopped by its host. A browser sends its cookie by itself, so a change
that is made with a cookie must say by ``Origin`` that it comes from a page of ours.
"""

from __future__ import annotations

from functools import partial
from ipaddress import IPv6Address, IPv6Network
from urllib.parse import quote

from fastapi.responses import RedirectResponse, Response
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from app.credentials import Credentials
from app.errors import DatabaseUnavailable, NotAuthenticated, ServiceError, WrongHost, WrongOrigin
from app.loopback import is_loopback
from app.principal import NOBODY, Principal
from app.problems import problem_of
from app.rate_limits import RateLimits
from app.security import API_PREFIX, LOGIN_PATH, LOGOUT_PATH
from app.settings import Settings

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OPEN = frozenset({"/healthz", "/readyz", LOGIN_PATH, LOGOUT_PATH})
_PREFIX_BITS = 64
_OPEN_FOLDERS = ("/static/", "/plotly/", f"{LOGIN_PATH}/")


class Gate:
    """Middleware: decides before anything reads the body. The caller is then ``scope["state"]["principal"]``."""

    def __init__(self, app: ASGIApp, settings: Settings, credentials: Credentials, limits: RateLimits) -> None:
        self.app = app
        self._credentials, self._limits = credentials, limits
        self._hosts = {host.lower().rstrip(".") for host in settings.allowed_hosts}
        # Off the loopback names are checked only when some are listed.
        self._any_host = not settings.on_loopback and not settings.allowed_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            refusal = await self._refusal(HTTPConnection(scope))
            if refusal is not None:
                await refusal(scope, receive, send)
                return
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        await self.app(scope, receive, send)

    async def _refusal(self, request: HTTPConnection) -> Response | None:
        """The answer to a request that may not go on."""
        path = request.scope["path"]
        try:
            await self._admit(request)
        except NotAuthenticated as refusal:
            if _is_navigation(request):
                return RedirectResponse(_login_address(request), 303)
            return problem_of(refusal, path)
        except ServiceError as refusal:
            return problem_of(refusal, path)
        except (OperationalError, NoConnection):
            return problem_of(DatabaseUnavailable(), path)
        return None

    async def _admit(self, request: HTTPConnection) -> None:
        self._check_host(request.headers.get("host", ""))
        if request.scope["method"] not in _SAFE_METHODS:
            _check_origin(request)
        state = request.scope.setdefault("state", {})
        state["principal"] = NOBODY
        if not _is_open(request.scope["path"]):
            state["principal"] = await self._caller(request)
            # An answer that goes on for long asks again who it is for.
            state["ask_again"] = partial(self._caller, request)
            self._limits.take_call(state["principal"])

    async def _caller(self, request: HTTPConnection) -> Principal:
        authorization = request.headers.get("authorization")
        if authorization is not None:
            return await self._holder_of_key(authorization, client_address(request))
        token = request.cookies.get(cookie_name(request))
        found = None if token is None else await self._credentials.of_cookie(token)
        if found is None:
            raise NotAuthenticated
        return found

    async def _holder_of_key(self, authorization: str, address: str) -> Principal:
        scheme, _, key = authorization.partition(" ")
        key = key.strip()
        found = None
        if scheme.lower() == "bearer" and key:
            found = await self._credentials.of_key(key)
            # Keys of the database cannot be guessed; that of the settings is as good as the person who chose it.
            if found is None and self._limits.may_guess(address):
                found = self._credentials.of_owner(key.encode("latin-1"))
        if found is None:
            self._limits.take_failure(address)
            raise NotAuthenticated
        return found

    def _check_host(self, given: str) -> None:
        host = _without_port(given)
        if not (self._any_host or is_loopback(host) or host in self._hosts):
            raise WrongHost(f"this server does not answer for host {host!r}; list it in MIXWRIGHT_ALLOWED_HOSTS")


def client_address(request: HTTPConnection) -> str:
    """Who is counted together when keys are wrong: an address, or the 2**64 of IPv6 that one machine can have."""
    host = request.client.host if request.client else ""
    try:
        address = IPv6Address(host)
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Network((address.packed[:8] + bytes(8), _PREFIX_BITS)))


def cookie_name(request: HTTPConnection) -> str:
    """Browsers keep one cookie for all ports of a host; two services on this machine must not share it."""
    port = request.headers.get("host", "").rpartition("]")[2].rpartition(":")[2]
    return f"mixwright_login_{port}" if port.isascii() and port.isdigit() else "mixwright_login"


def _is_open(path: str) -> bool:
    return path in _OPEN or path.startswith(_OPEN_FOLDERS)


def _is_navigation(request: HTTPConnection) -> bool:
    """Whether a person waits for a page, who is better served by a form than by a problem body."""
    path = request.scope["path"]
    inside = path == API_PREFIX or path.startswith(f"{API_PREFIX}/")
    wants_page = "text/html" in request.headers.get("accept", "")
    return wants_page and not inside and request.scope["method"] in _SAFE_METHODS


def _login_address(request: HTTPConnection) -> str:
    query = request.scope.get("query_string", b"").decode("latin-1")
    wanted = request.scope["path"] + (f"?{query}" if query else "")
    return LOGIN_PATH if wanted == "/" else f"{LOGIN_PATH}?next={quote(wanted, safe='/')}"


def _check_origin(request: HTTPConnection) -> None:
    origin = request.headers.get("origin")
    if origin is None:
        if "authorization" not in request.headers and cookie_name(request) in request.cookies:
            raise WrongOrigin("a change that is made with a login must come from a page of ours (no Origin was sent)")
    elif origin.partition("://")[2].lower() != request.headers.get("host", "").lower():
        raise WrongOrigin


def _without_port(host: str) -> str:
    bare = host.strip().lower()
    if bare.startswith("["):
        return bare[: bare.find("]") + 1]
    return bare.partition(":")[0].rstrip(".")
