"""The example of a training job that reads its weights holds what the README promises of it."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import httpx
import pytest

ANSWER = {"version": "v1", "weights": {"web": 0.75, "code": 0.25}}


@pytest.fixture
def example(checkout: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("read_weights", checkout / "examples" / "read_weights.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[httpx.Request], httpx.Response]], None]:
    """Puts a function in the place of the service."""

    def answer_by(handler: Callable[[httpx.Request], httpx.Response]) -> None:
        client = httpx.Client(transport=httpx.MockTransport(handler))
        monkeypatch.setattr(httpx, "get", client.get)

    return answer_by


def test_what_is_known_already_is_not_sent_again(example: ModuleType, service: Callable, tmp_path: Path) -> None:
    asked: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("If-None-Match"))
        return httpx.Response(304) if asked[-1] == '"v1"' else httpx.Response(200, json=ANSWER)

    service(answer)
    read = [example.read_weights("http://service", "s", "key", tmp_path / "kept.json") for _ in range(2)]
    assert read == [ANSWER, ANSWER]
    assert asked == [None, '"v1"']


def _broken(_: httpx.Request) -> httpx.Response:
    return httpx.Response(503)


def _gone(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


@pytest.mark.parametrize("outage", [_broken, _gone])
def test_the_last_weights_hold_while_the_service_is_away(
    example: ModuleType, service: Callable, tmp_path: Path, outage: Callable[[httpx.Request], httpx.Response]
) -> None:
    service(outage)
    with pytest.raises(httpx.HTTPError):
        example.read_weights("http://service", "s", "key", tmp_path / "kept.json")
    (tmp_path / "kept.json").write_text(json.dumps(ANSWER))
    assert example.read_weights("http://service", "s", "key", tmp_path / "kept.json") == ANSWER


def test_a_key_that_ended_is_not_passed_over(example: ModuleType, service: Callable, tmp_path: Path) -> None:
    (tmp_path / "kept.json").write_text(json.dumps(ANSWER))
    service(lambda _: httpx.Response(401))
    with pytest.raises(httpx.HTTPStatusError, match="401"):
        example.read_weights("http://service", "s", "key", tmp_path / "kept.json")
