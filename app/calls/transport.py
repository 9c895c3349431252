"""How the client calls: typed bodies over httpx, refusals as exceptions, calls repeated where that is safe.

A read may be repeated. A POST carries an ``Idempotency-Key``, so that the service carries it out once however often it
arrives. A change (PATCH, PUT, DELETE) names the version that it changes; it is repeated only when it cannot have
arrived.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, TypeVar
from uuid import uuid4

import httpx
from pydantic import BaseModel, ValidationError

from app.loopback import is_loopback
from app.schemas.common import Problem

Answer = TypeVar("Answer", bound=BaseModel)

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 10.0
# The service, or something in front of it, asks for patience.
_TRY_AGAIN = frozenset({429, 502, 503, 504})


class ClientError(Exception):
    """A call did not give an answer."""


class Unreachable(ClientError):
    """The service cannot be reached."""


class Refused(ClientError):
    """The service refused the call; ``problem`` is its body."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.detail)

    @property
    def status(self) -> int:
        return self.problem.status


class NotFound(Refused):
    """There is no such thing."""


class Conflict(Refused):
    """The call does not fit the present state."""


class Changed(Refused):
    """The thing has changed since it was read."""


class NotAllowed(Refused):
    """The key is missing, unknown, or not for this call."""


_REFUSALS: dict[int, type[Refused]] = {
    HTTPStatus.UNAUTHORIZED: NotAllowed,
    HTTPStatus.FORBIDDEN: NotAllowed,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.CONFLICT: Conflict,
    HTTPStatus.PRECONDITION_FAILED: Changed,
}


class Transport:
    """A connection pool to one service; what the calls of every resource are made of.

    Args:
        url: address of the service, without ``/v1``.
        api_key: sent with every call.
        timeout_seconds: for one call.
        retries: how often a call is repeated, where that is safe, when the service cannot be reached or asks for
            patience.
        transport: replaces the network, for tests.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        timeout_seconds: float = 60.0,
        retries: int = 4,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._retries = retries
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=timeout_seconds,
            transport=transport,
            # A proxy of the environment must not come between a program and its own machine.
            trust_env=not is_loopback(httpx.URL(self.url).host),
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def is_ready(self) -> bool:
        """Whether the service answers and can serve; never raises."""
        try:
            return self._http.get("/readyz").status_code == HTTPStatus.OK
        except httpx.TransportError:
            return False

    def _get(self, path: str, answer: type[Answer], **query: Any) -> Answer:
        return _parse(self._call("GET", path, query=query), answer)

    def _read_bytes(self, path: str, **query: Any) -> bytes:
        return self._call("GET", path, query=query).content

    def _post(self, path: str, body: BaseModel | None, answer: type[Answer], **query: Any) -> Answer:
        return _parse(self._call("POST", path, body, query), answer)

    def _send(self, path: str, body: BaseModel) -> None:
        """A POST that has no answer."""
        self._call("POST", path, body)

    def _upload(self, path: str, files: Mapping[str, Any], fields: Mapping[str, str], answer: type[Answer]) -> Answer:
        """A POST of files (name -> (filename, open file)); sent once, for a file is read only once."""
        request = self._http.build_request("POST", path, files=files, data=dict(fields))
        return _parse(_checked(self._send_once(request)), answer)

    def _change(
        self, path: str, body: BaseModel, answer: type[Answer], etag: str | None, method: str = "PATCH"
    ) -> Answer:
        """Change what stands at ``path``: the version ``etag``, or the present one when none is given.

        Raises:
            Changed: somebody else was faster.
        """
        version = etag or self.etag(path)
        return _parse(self._call(method, path, body, headers={"If-Match": version}), answer)

    def _delete(self, path: str, etag: str | None) -> None:
        self._call("DELETE", path, headers={"If-Match": etag or self.etag(path)})

    def etag(self, path: str) -> str:
        """The version of what stands at ``path``; ``*`` when it names none."""
        return self._call("GET", path).headers.get("ETag", "*")

    def _call(
        self,
        method: str,
        path: str,
        body: BaseModel | None = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        request = self._http.build_request(
            method,
            path,
            params=_given(query or {}),
            content=None if body is None else body.model_dump_json(exclude_unset=method == "PATCH"),
            headers={} if body is None else {"Content-Type": "application/json"},
        )
        request.headers.update(headers or {})
        if method == "POST":
            request.headers["Idempotency-Key"] = uuid4().hex
        return _checked(self._send_request(request, may_repeat=method in ("GET", "POST")))

    def _send_request(self, request: httpx.Request, may_repeat: bool) -> httpx.Response:
        pause = _FIRST_PAUSE_SECONDS
        for left in reversed(range(1 + self._retries)):
            try:
                response = self._http.send(request)
            except httpx.TransportError as exc:
                # A connection that was never made carried nothing: any call may be made again.
                if left == 0 or not (may_repeat or isinstance(exc, httpx.ConnectError)):
                    raise _unreachable(request, exc) from exc
                asked = None
            else:
                if left == 0 or not may_repeat or response.status_code not in _TRY_AGAIN:
                    return response
                asked = _retry_after(response)
            time.sleep(min(max(pause, asked or 0.0), _LONGEST_PAUSE_SECONDS))
            pause *= 2
        raise AssertionError("the last attempt returns or raises")

    def _send_once(self, request: httpx.Request) -> httpx.Response:
        try:
            return self._http.send(request)
        except httpx.TransportError as exc:
            raise _unreachable(request, exc) from exc


def _given(query: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that were given; a list is a parameter that is repeated."""
    return {
        name: [str(each) for each in value] if isinstance(value, list | tuple) else str(value)
        for name, value in query.items()
        if value is not None
    }


def _unreachable(request: httpx.Request, exc: httpx.TransportError) -> Unreachable:
    return Unreachable(f"{request.method} {request.url} got no answer: {str(exc) or type(exc).__name__}")


def _retry_after(response: httpx.Response) -> float | None:
    given = response.headers.get("Retry-After", "")
    return float(given) if given.isdigit() else None


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    problem = _problem(response)
    raise _REFUSALS.get(problem.status, Refused)(problem)


def _parse(response: httpx.Response, answer: type[Answer]) -> Answer:
    try:
        return answer.model_validate_json(response.content)
    except ValidationError as exc:
        what = "something that is not Mixwright's, or of another version"
        raise ClientError(f"{response.request.method} {response.request.url} answered {what}") from exc


def _problem(response: httpx.Response) -> Problem:
    try:
        return Problem.model_validate_json(response.content)
    except ValidationError:
        # Not our service: a proxy in between, or another program on that port.
        phrase = response.reason_phrase or "no reason given"
        detail = f"{response.request.url} answered {response.status_code} ({phrase}) without saying why"
        return Problem(type="about:blank", title=phrase, status=response.status_code, detail=detail)
