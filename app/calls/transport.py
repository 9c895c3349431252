"""How the client calls: typed bodies over httpx, refusals as exceptions, calls repeated where that is safe.

A read may be repeated. A POST carries an ``Idempotency-Key``, so that the service carries it out once however often it
arrives. A change (PATCH, PUT, DELETE) names the version that it changes; it is repeated only when it cannot have
arrived.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from http import HTTPStatus
from typing import IO, Any
from uuid import uuid4

import httpx
from pydantic import BaseModel

from app.calls.answers import Answer, Download, checked, download_of, parsed, parsed_text, retry_after, unreachable
from app.calls.errors import NotFound
from app.calls.streams import EventStream, ServerEvent
from app.loopback import is_loopback

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 10.0
# The service, or something in front of it, asks for patience.
_TRY_AGAIN = frozenset({429, 502, 503, 504})


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
        return parsed(self._call("GET", path, query=query), answer)

    def _download(self, path: str, **query: Any) -> Download:
        return download_of(self._call("GET", path, query=query))

    def _stream(self, path: str, last_id: str | None = None, **query: Any) -> Generator[ServerEvent, None, None]:
        """The server-sent events at ``path``, over lost connections too; the reader knows which one is the last."""
        return iter(EventStream(self._http, path, _given(query), last_id, self._retries))

    def _parsed(self, path: str, data: str, answer: type[Answer]) -> Answer:
        """The data of an event of the stream at ``path``."""
        return parsed_text(f"GET {self.url}{path}", data, answer)

    def _post(self, path: str, body: BaseModel | None, answer: type[Answer], **query: Any) -> Answer:
        return parsed(self._call("POST", path, body, query), answer)

    def _send(self, path: str, body: BaseModel) -> None:
        """A POST that has no answer."""
        self._call("POST", path, body)

    def _upload(
        self,
        path: str,
        files: Sequence[tuple[str, tuple[str, IO[bytes]]]],
        fields: Mapping[str, str],
        answer: type[Answer],
        seconds: float,
    ) -> Answer:
        """A POST of open files (part, (filename, file)), answered within ``seconds``; sent once, for a file is read
        only once."""
        timeout = httpx.Timeout(seconds, connect=self._http.timeout.connect)
        request = self._http.build_request("POST", path, files=list(files), data=dict(fields), timeout=timeout)
        return parsed(checked(self._send_once(request)), answer)

    def _change(self, path: str, body: BaseModel, answer: type[Answer], etag: str | None) -> Answer:
        """Change what stands at ``path``: the version ``etag``, or the present one when none is given.

        Raises:
            Changed: somebody else was faster.
        """
        version = etag or self.etag(path)
        return parsed(self._call("PATCH", path, body, headers={"If-Match": version}), answer)

    def _put(self, path: str, body: BaseModel, answer: type[Answer], etag: str | None) -> Answer:
        """Make what shall stand at ``path``, or replace it as :meth:`_change` does."""
        try:
            headers = {"If-Match": etag or self.etag(path)}
        except NotFound:
            headers = {"If-None-Match": "*"}
        return parsed(self._call("PUT", path, body, headers=headers), answer)

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
            # What was not given is left to the service, which may be of a version that does not know it.
            content=None if body is None else body.model_dump_json(exclude_unset=True),
            headers={} if body is None else {"Content-Type": "application/json"},
        )
        request.headers.update(headers or {})
        if method == "POST":
            request.headers["Idempotency-Key"] = uuid4().hex
        return checked(self._send_request(request, may_repeat=method in ("GET", "POST")))

    def _send_request(self, request: httpx.Request, may_repeat: bool) -> httpx.Response:
        pause = _FIRST_PAUSE_SECONDS
        for left in reversed(range(1 + self._retries)):
            try:
                response = self._http.send(request)
            except httpx.TransportError as exc:
                # A connection that was never made carried nothing: any call may be made again.
                if left == 0 or not (may_repeat or isinstance(exc, httpx.ConnectError)):
                    raise unreachable(request, exc) from exc
                asked = None
            else:
                if left == 0 or not may_repeat or response.status_code not in _TRY_AGAIN:
                    return response
                asked = retry_after(response)
            time.sleep(min(max(pause, asked or 0.0), _LONGEST_PAUSE_SECONDS))
            pause *= 2
        raise AssertionError("the last attempt returns or raises")

    def _send_once(self, request: httpx.Request) -> httpx.Response:
        try:
            return self._http.send(request)
        except httpx.TransportError as exc:
            raise unreachable(request, exc) from exc


def _given(query: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that were given; a list is a parameter that is repeated."""
    return {
        name: [str(each) for each in value] if isinstance(value, list | tuple) else str(value)
        for name, value in query.items()
        if value is not None
    }
