"""How the client calls: typed bodies over httpx, refusals as exceptions, repeated reads."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from app.loopback import is_loopback
from app.schemas.common import Problem

Answer = TypeVar("Answer", bound=BaseModel)

_FIRST_PAUSE_SECONDS = 0.2


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


_REFUSALS: dict[int, type[Refused]] = {HTTPStatus.NOT_FOUND: NotFound, HTTPStatus.CONFLICT: Conflict}


class Calls:
    """A connection pool to one service."""

    def __init__(
        self, url: str, api_key: str | None, timeout_seconds: float, retries: int, transport: httpx.BaseTransport | None
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
        """Whether the service answers and can serve."""
        try:
            return self._http.get("/readyz").status_code == HTTPStatus.OK
        except httpx.TransportError:
            return False

    def get(self, path: str, answer: type[Answer], **query: Any) -> Answer:
        """Read a resource; repeated while the service cannot be reached."""
        given = {name: str(value) for name, value in query.items() if value is not None}
        return _parse(self._call("GET", path, None, given), answer)

    def post(self, path: str, body: BaseModel | None, answer: type[Answer]) -> Answer:
        """Send a body and read the answer."""
        return _parse(self._call("POST", path, body), answer)

    def send(self, path: str, body: BaseModel) -> None:
        """Send a body that has no answer."""
        self._call("POST", path, body)

    def _call(
        self, method: str, path: str, body: BaseModel | None = None, query: dict[str, str] | None = None
    ) -> httpx.Response:
        request = self._http.build_request(
            method,
            path,
            params=query,
            content=None if body is None else body.model_dump_json(),
            headers={} if body is None else {"Content-Type": "application/json"},
        )
        response = self._send_request(request)
        if response.is_success:
            return response
        problem = _problem(response)
        raise _REFUSALS.get(problem.status, Refused)(problem)

    def _send_request(self, request: httpx.Request) -> httpx.Response:
        attempts = 1 + (self._retries if request.method == "GET" else 0)
        pause = _FIRST_PAUSE_SECONDS
        for left in reversed(range(attempts)):
            try:
                return self._http.send(request)
            except httpx.TransportError as exc:
                if left == 0:
                    what = str(exc) or type(exc).__name__
                    raise Unreachable(f"{request.method} {request.url} got no answer: {what}") from exc
            time.sleep(pause)
            pause *= 2
        raise AssertionError("the last attempt returns or raises")


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
