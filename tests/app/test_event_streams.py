"""The client reads server-sent events, and goes on where it was when the connection is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest

from app.calls.errors import NotAllowed, Unreachable
from app.calls.streams import EventStream, ServerEvent, events_of


def test_events_are_read_whatever_the_chunks_are() -> None:
    text = ': hello\r\n\r\nid: 7\r\nevent: progress\r\ndata: {"a":\r\ndata: 1}\r\n\r\ndata:x\u2028y\n\n'.encode()
    expected = [ServerEvent("progress", '{"a":\n1}', "7"), ServerEvent("message", "x\u2028y", "7")]
    for size in range(1, len(text) + 1):
        chunks = [text[i : i + size] for i in range(0, len(text), size)]
        assert list(events_of(chunks)) == expected


def test_an_event_that_is_cut_off_is_left_out() -> None:
    assert list(events_of([b"data: whole\n\nid: 2\ndata: hal"])) == [ServerEvent("message", "whole", "")]


class Service(httpx.BaseTransport):
    """Answers each connection by the next of the given functions, and notes where it was asked to go on."""

    def __init__(self, *answers: Callable[[], httpx.Response]) -> None:
        self._answers = list(answers)
        self.asked: list[str | None] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.headers.get("last-event-id"))
        return self._answers.pop(0)()


class _Breaking(httpx.SyncByteStream):
    def __init__(self, content: bytes) -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        yield self._content
        raise httpx.ReadError("connection reset")


def _breaks_after(content: bytes) -> Callable[[], httpx.Response]:
    return lambda: httpx.Response(200, stream=_Breaking(content))


def _answers(status: int, content: bytes = b"") -> Callable[[], httpx.Response]:
    return lambda: httpx.Response(status, content=content)


def _refuses() -> httpx.Response:
    raise httpx.ConnectError("connection refused")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.calls.streams._FIRST_PAUSE_SECONDS", 0.0)


def _stream(service: Service, last_id: str | None = None, retries: int = 2) -> Iterator[ServerEvent]:
    return iter(EventStream(httpx.Client(base_url="http://here", transport=service), "/v1/e", {}, last_id, retries))


def test_a_lost_connection_goes_on_after_the_last_event() -> None:
    service = Service(
        _breaks_after(b"id: 5\ndata: a\n\n"), _refuses, _answers(503), _answers(200, b"id: 6\ndata: b\n\n")
    )
    stream = _stream(service, last_id="4", retries=3)
    assert [next(stream).data, next(stream).data] == ["a", "b"]
    assert service.asked == ["4", "5", "5", "5"]


def test_a_place_without_an_event_is_gone_on_from() -> None:
    service = Service(_breaks_after(b"id: 3\n: nothing new\n\n"), _answers(200, b"id: 4\ndata: a\n\n"))
    assert next(_stream(service)).data == "a"
    assert service.asked == [None, "3"]


def test_a_service_that_stays_away_is_an_error() -> None:
    service = Service(_breaks_after(b"data: a\n\n"), *[_refuses] * 8)
    stream = _stream(service)
    assert next(stream).data == "a"
    with pytest.raises(Unreachable, match="connection refused"):
        next(stream)
    assert len(service.asked) == 9


def test_a_service_that_was_never_there_is_given_up_sooner() -> None:
    service = Service(*[_refuses] * 3)
    with pytest.raises(Unreachable, match="connection refused"):
        next(_stream(service))
    assert len(service.asked) == 3


def test_a_stream_that_ends_at_once_again_and_again_is_an_error() -> None:
    with pytest.raises(Unreachable, match="ends its stream again and again"):
        next(_stream(Service(*[_answers(200)] * 3)))


def test_a_refusal_is_told_and_not_repeated() -> None:
    body = b'{"type": "about:blank", "title": "No", "status": 403, "detail": "this key has agent"}'
    service = Service(_answers(403, body))
    with pytest.raises(NotAllowed, match="this key has agent"):
        next(_stream(service))
    assert len(service.asked) == 1
