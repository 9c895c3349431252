"""How a person logs in and out: with a key, or with a link that works once.

Opening a link shows a button and no more, so that programs that look at links in messages do not use it up. A cookie
is tied to the key that it was made with and ends after twelve hours.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from app.credentials import Credentials
from app.dashboard.page import page
from app.db import Database
from app.errors import BodyTooLarge, Forbidden, NotAuthenticated, ServiceError, TooManyRequests, status_of
from app.gate import client_address, cookie_name
from app.loopback import is_loopback
from app.principal import Principal, Scope
from app.routes.dependencies import Now
from app.security import LOGIN_PATH, LOGOUT_PATH
from app.services import logins
from app.services.keys import Holder

_MOST_FORM_BYTES = 8192
_HOME = "/"

router = APIRouter(include_in_schema=False)


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form. Nobody is known here yet, so little is read."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_FORM_BYTES:
            raise BodyTooLarge(f"the form is too large; accepted: at most {_MOST_FORM_BYTES} bytes")
    return dict(parse_qsl(body.decode("utf-8", "replace")))


Form = Annotated[dict[str, str], Depends(_form)]


@router.get(LOGIN_PATH)
def login_page(request: Request, next: str = _HOME) -> HTMLResponse:
    """Asks for a key."""
    wanted = _own_page(next)
    # A browser keeps a strict cookie back while it follows a link of another site; asked from here it sends it.
    from_outside = request.headers.get("sec-fetch-site") == "cross-site"
    return page(request, "login.html", wanted=wanted, again=wanted if from_outside else None)


@router.post(LOGIN_PATH)
def log_in(request: Request, form: Form, now: Now) -> Response:
    """Exchanges a key for a cookie."""
    wanted = _own_page(form.get("next", _HOME))
    try:
        request.app.state.rate_limits.take_login(client_address(request))
        who = _credentials(request).holder_of(form.get("key", "").strip())
        if who is None:
            raise NotAuthenticated("this is no key of this service, or it has expired or was revoked")
        _check_may_look(who)
    except ServiceError as refusal:
        return _refused(request, refusal, "login.html", wanted=wanted)
    with _database(request, who.principal).write() as session:
        return _logged_in(request, wanted, logins.log_in(session, who, now))


@router.get(f"{LOGIN_PATH}/link")
def link_page(request: Request) -> HTMLResponse:
    """Says what the link is for; using it takes a click."""
    return page(request, "login_link.html", action=_link_address(request))


@router.post(f"{LOGIN_PATH}/link")
def use_link(request: Request, now: Now) -> Response:
    """Exchanges the token of a link for a cookie, once."""
    token = getattr(request.state, "login_token", "")
    try:
        request.app.state.rate_limits.take_login(client_address(request))
        with _database(request, request.state.principal).write() as session:
            _, cookie = logins.redeem_link(session, token, _credentials(request).owner, now)
    except ServiceError as refusal:
        return _refused(request, refusal, "login.html", wanted=_HOME)
    return _logged_in(request, _HOME, cookie)


@router.post(LOGOUT_PATH)
def log_out(request: Request, now: Now) -> Response:
    """Ends the login of this browser."""
    token = request.cookies.get(cookie_name(request))
    if token is not None:
        credentials = _credentials(request)
        with _database(request, request.state.principal).write() as session:
            credentials.forget_after(session)
            logins.log_out(session, token, credentials.owner, now)
    answer = RedirectResponse(LOGIN_PATH, 303)
    answer.delete_cookie(cookie_name(request), path="/", httponly=True, samesite="strict")
    return answer


def _credentials(request: Request) -> Credentials:
    return request.app.state.credentials


def _database(request: Request, who: Principal) -> Database:
    return request.app.state.database.on_behalf_of(who)


def _check_may_look(who: Holder) -> None:
    if not who.principal.may(Scope.READ):
        raise Forbidden("the dashboard needs a key with the scope 'read'; this one is for agents only")


def _logged_in(request: Request, wanted: str, token: str) -> Response:
    answer = RedirectResponse(wanted, 303)
    answer.set_cookie(
        cookie_name(request),
        token,
        max_age=int(logins.LOGIN_LIVES.total_seconds()),
        path="/",
        httponly=True,
        samesite="strict",
        # On the loopback there is no https, and nobody between the browser and us.
        secure=request.url.scheme == "https" or not is_loopback(request.url.hostname or ""),
    )
    return answer


def _refused(request: Request, refusal: ServiceError, template: str, **values: str) -> HTMLResponse:
    answer = page(request, template, status=status_of(refusal), refusal=refusal.detail, **values)
    if isinstance(refusal, TooManyRequests):
        answer.headers["Retry-After"] = str(refusal.retry_after_seconds)
    return answer


def _own_page(wanted: str) -> str:
    """``wanted`` when it is a page of ours, else the first page: a login must not send anyone elsewhere."""
    plain = wanted.isascii() and wanted.isprintable() and not set(wanted) & set('\\"<> ')
    ours = wanted.startswith("/") and not wanted.startswith(("//", LOGIN_PATH, LOGOUT_PATH))
    return wanted if plain and ours and len(wanted) <= 2000 else _HOME


def _link_address(request: Request) -> str:
    token = getattr(request.state, "login_token", "")
    return f"{LOGIN_PATH}/{token}" if token.replace("-", "").replace("_", "").isalnum() else LOGIN_PATH
