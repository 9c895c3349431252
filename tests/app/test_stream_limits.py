"""Streams end with the key that they were opened with, and one key cannot take all connections."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app import event_streams
from app.credentials import Credentials
from tests.app.conftest import StandingClock
from tests.app.test_key_routes import bearer, make
from tests.waiting import PATIENCE_SECONDS, soon

URL = "/v1/events/stream"


@pytest.fixture(autouse=True)
def _ask_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_streams, "ASK_AGAIN_SECONDS", 0.05)


def open_streams(api: TestClient) -> int:
    return sum(getattr(api.app.state, "streams", {}).values())  # type: ignore[attr-defined]


def revoke(api: TestClient, key: dict[str, Any]) -> None:
    assert api.post(f"/v1/keys/{key['id']}/revoke").status_code == 200


def test_a_stream_ends_when_its_key_is_revoked(api: TestClient) -> None:
    key, other = make(api, "read"), make(api, "read")
    with ThreadPoolExecutor(2) as pool:
        theirs, others = (pool.submit(api.get, URL, headers=bearer(each)) for each in (key, other))
        assert soon(lambda: open_streams(api) == 2)
        revoke(api, key)
        assert theirs.result(PATIENCE_SECONDS).status_code == 200
        assert (open_streams(api), others.done()) == (1, False)
        revoke(api, other)
        assert others.result(PATIENCE_SECONDS).status_code == 200
    assert api.get(URL, headers=bearer(key)).status_code == 401


def test_a_stream_ends_when_its_key_expires(api: TestClient, clock: StandingClock) -> None:
    made = make(api, "read", expires_at="2026-01-01T01:00:00Z")
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(api.get, URL, headers=bearer(made))
        assert soon(lambda: open_streams(api) == 1)
        clock.advance(3600)
        assert stream.result(PATIENCE_SECONDS).status_code == 200


def test_a_stream_outlives_a_database_that_is_away_for_a_moment(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def away(_: Credentials, text: str) -> None:
        asked.append(text)
        raise event_streams.SQLAlchemyError("away")

    key = make(api, "read")
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(api.get, URL, headers=bearer(key))
        assert soon(lambda: open_streams(api) == 1)
        with monkeypatch.context() as patched:
            patched.setattr(Credentials, "of_key", away)
            assert soon(lambda: len(asked) > 2)
            assert not stream.done()
        revoke(api, key)
        assert stream.result(PATIENCE_SECONDS).status_code == 200


def test_one_key_opens_so_many_streams_and_no_more(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_streams, "MOST_OF_A_KEY", 2)
    key, other = make(api, "read"), make(api, "read")
    with ThreadPoolExecutor(3) as pool:
        streams = [pool.submit(api.get, URL, headers=bearer(each)) for each in (key, key, other)]
        assert soon(lambda: open_streams(api) == 3)
        refused = api.get(URL, headers=bearer(key))
        assert (refused.status_code, "retry-after" in refused.headers) == (429, True)
        assert "2 streams open already" in refused.json()["detail"]
        for each in (key, other):
            revoke(api, each)
        assert [stream.result(PATIENCE_SECONDS).status_code for stream in streams] == [200] * 3
    assert open_streams(api) == 0
