"""Clients that send too much, too slowly, or nothing at all, against a real server on the loopback."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from fastapi.testclient import TestClient
from pydantic import SecretStr

from app.body_limit import BodyLimit
from app.main import create_app
from app.migrate import upgrade
from app.patience import PatientProtocol
from app.settings import Settings
from app.write_slots import SLOTS
from tests.app.conftest import OWNER_KEY
from tests.waiting import PATIENCE_SECONDS, soon

HEAD = f"Host: 127.0.0.1\r\nAuthorization: Bearer {OWNER_KEY}\r\nContent-Type: application/json\r\n"


@contextmanager
def serving(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    head_seconds: float = PATIENCE_SECONDS,
    body_seconds: float = PATIENCE_SECONDS,
) -> Iterator[int]:
    """The port of a server that waits so long for a head and for a body."""
    monkeypatch.setattr(PatientProtocol, "head_seconds", head_seconds)
    monkeypatch.setattr(BodyLimit.__init__, "__defaults__", (None, body_seconds))
    settings = Settings(data_dir=folder, api_key=SecretStr(OWNER_KEY), max_body_bytes=100_000)
    upgrade(settings)
    config = uvicorn.Config(create_app(settings), http=PatientProtocol, log_config=None, port=0, lifespan="on")
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=asyncio.run, args=(server.serve([listener]),), daemon=True)
    thread.start()
    assert soon(lambda: server.started)
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(PATIENCE_SECONDS)
    listener.close()


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server that waits longer than any test looks."""
    with serving(tmp_path, monkeypatch) as found:
        yield found


@pytest.fixture
def port_of_short_heads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server that waits half a second for a head."""
    with serving(tmp_path, monkeypatch, head_seconds=0.5) as found:
        yield found


@pytest.fixture
def port_of_short_bodies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server that waits half a second for a body."""
    with serving(tmp_path, monkeypatch, body_seconds=0.5) as found:
        yield found


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)


def read_all(connection: socket.socket) -> bytes:
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def test_a_connection_that_says_nothing_is_closed_but_not_at_once(port_of_short_heads: int) -> None:
    began = time.monotonic()
    with connect(port_of_short_heads) as silent:
        assert read_all(silent) == b""
    assert time.monotonic() - began > 0.3


def test_a_head_that_trickles_in_is_closed_and_others_are_served_meanwhile(
    port_of_short_heads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, accepted, accept = port_of_short_heads, [], PatientProtocol.connection_made
    monkeypatch.setattr(
        PatientProtocol, "connection_made", lambda self, transport: (accept(self, transport), accepted.append(self))
    )
    slow = [connect(port) for _ in range(50)]
    for connection in slow:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n")
    assert soon(lambda: len(accepted) == 50)
    monkeypatch.setattr(PatientProtocol, "head_seconds", PATIENCE_SECONDS)  # for those that come from now on
    with connect(port) as quick:
        quick.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        assert read_all(quick).startswith(b"HTTP/1.1 200")
    for connection in slow:
        assert read_all(connection) == b""
        connection.close()


def test_a_body_that_trickles_in_is_given_up_with_a_reason(port_of_short_bodies: int) -> None:
    with connect(port_of_short_bodies) as slow:
        slow.sendall(f"POST /v1/studies HTTP/1.1\r\n{HEAD}Content-Length: 5000\r\n\r\n".encode() + b'{"name"')
        answer = read_all(slow)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"the body comes too slowly: 7 bytes" in answer


def test_two_gigabytes_are_refused_before_they_are_sent(port: int) -> None:
    with connect(port) as large:
        large.sendall(f"POST /v1/studies HTTP/1.1\r\n{HEAD}Content-Length: {2 * 10**9}\r\n\r\n".encode())
        answer = read_all(large)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"at most 100000 bytes" in answer


def test_two_gigabytes_without_a_length_are_cut_off(port: int) -> None:
    sent = 0
    with connect(port) as large:
        large.sendall(f"POST /v1/studies HTTP/1.1\r\n{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode())
        try:
            while sent < 2 * 10**9:
                large.sendall(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
                sent += 0x10000
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert sent < 2 * 10**8  # most of it what the buffers of the system take
    with connect(port) as quick:
        quick.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        assert read_all(quick).startswith(b"HTTP/1.1 200")


def test_forms_of_nobody_that_trickle_in_keep_no_one_from_writing(port: int) -> None:
    slow = [connect(port) for _ in range(SLOTS + 6)]
    for connection in slow:
        connection.sendall(b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5000\r\n\r\nkey=")
    with connect(port) as quick:
        body = b'{"name": "agent"}'
        length = f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        quick.sendall(f"POST /v1/agents HTTP/1.1\r\n{HEAD}{length}".encode() + body)
        assert read_all(quick).startswith(b"HTTP/1.1 201")
    for connection in slow:
        connection.close()


def test_nobody_may_send_more_than_a_form(port: int) -> None:
    for path in ("/login", "/static/imports", "/v1/../login/imports"):
        with connect(port) as large:
            head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            large.sendall(f"{head}Content-Length: 20000\r\n\r\n".encode())
            assert read_all(large)[:12] in (b"HTTP/1.1 413", b"HTTP/1.1 401"), path


def test_a_body_that_breaks_off_is_not_carried_out(port: int) -> None:
    """A JSON text is complete before the blanks behind it are."""
    for number in range(5):
        with connect(port) as broken:
            key = f"Idempotency-Key: {number}\r\n" if number % 2 else ""
            broken.sendall(f"POST /v1/agents HTTP/1.1\r\n{HEAD}{key}Content-Length: 100\r\n\r\n".encode())
            broken.sendall(b'{"name": "half an agent"}')
    with connect(port) as quick:
        quick.sendall(f"GET /v1/agents HTTP/1.1\r\n{HEAD}Connection: close\r\n\r\n".encode())
        assert b"half an agent" not in read_all(quick)


@pytest.mark.parametrize("key", ["", "Idempotency-Key: once\r\n"])
def test_a_body_of_many_parts_arrives_whole(tmp_path: Path, key: str) -> None:
    name = "n" * 200
    settings = Settings(data_dir=tmp_path, api_key=SecretStr(OWNER_KEY))
    upgrade(settings)
    headers = {"Authorization": f"Bearer {OWNER_KEY}", "Content-Type": "application/json"}
    if key:
        headers["Idempotency-Key"] = "once"
    text = b'{"name": "' + name.encode() + b'"' + b" " * 3_000_000 + b"}"
    with TestClient(create_app(settings), base_url="http://127.0.0.1", headers=headers) as api:
        for _ in range(2):
            answer = api.post("/v1/agents", content=(text[i : i + 70_001] for i in range(0, len(text), 70_001)))
            assert answer.status_code == 201
            assert answer.json()["name"] == name
        assert len(api.get("/v1/agents").json()["items"]) == (1 if key else 2)
