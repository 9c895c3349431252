"""SIGTERM to a service at work: what was begun is answered, streams end, and nothing is left behind."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from app.local_key import local_key
from tests.app.study_bodies import study_body
from tests.waiting import PATIENCE_SECONDS, soon

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_slow_request_is_answered_and_streams_end(tmp_path: Path) -> None:
    """The request waits for its turn to write, which we hold, while the service is told to stop."""
    data = tmp_path / "data"
    command = [sys.executable, "-m", "app.cli", "serve", "--port", "0", "--workers", "0", "--data-dir", str(data)]
    log = tmp_path / "log"
    with log.open("w") as out:
        service = subprocess.Popen(command, cwd=ROOT, env=dict(os.environ), stdout=out, stderr=out)
    try:
        assert soon(lambda: "Mixwright is at" in log.read_text())
        url = re.findall(r"Mixwright is at (http://\S+) ", log.read_text())[0]
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {local_key(data)}"}, timeout=30) as client:
            assert soon(lambda: _ready(client))
            stream_stands, stream_ended = threading.Event(), threading.Event()
            listening = threading.Thread(target=lambda: _listen(client, stream_stands, stream_ended))
            with (
                closing(sqlite3.connect(data / "mixwright.sqlite3", isolation_level=None)) as holder,
                _asked(url, local_key(data)) as asking,
            ):
                listening.start()
                assert stream_stands.wait(PATIENCE_SECONDS)
                holder.execute("BEGIN IMMEDIATE")
                asking.sendall(json.dumps(study_body()).encode())
                service.send_signal(signal.SIGTERM)
                assert stream_ended.wait(PATIENCE_SECONDS)
                assert select.select([asking], [], [], 0) == ([], [], [])
                assert service.poll() is None
                holder.execute("COMMIT")
                assert asking.recv(1024).startswith(b"HTTP/1.1 201 ")
            listening.join(PATIENCE_SECONDS)
        assert service.wait(PATIENCE_SECONDS) == 0
    finally:
        if service.poll() is None:
            service.kill()
            service.wait()
    assert "Traceback" not in log.read_text()
    with closing(sqlite3.connect(data / "mixwright.sqlite3")) as database:
        assert database.execute("SELECT count(*) FROM studies").fetchone() == (1,)


def _ready(client: httpx.Client) -> bool:
    return client.get("/readyz").status_code == 200


def _asked(url: str, key: str | None) -> socket.socket:
    """A connection on which a study is being created: the service has said that it waits for the body."""
    where = urlsplit(url)
    connection = socket.create_connection((where.hostname, where.port), timeout=PATIENCE_SECONDS)
    head = f"POST /v1/studies HTTP/1.1\r\nHost: {where.netloc}\r\nAuthorization: Bearer {key}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(json.dumps(study_body()))}\r\n"
    connection.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
    assert connection.recv(1024).startswith(b"HTTP/1.1 100 ")
    return connection


def _listen(client: httpx.Client, stands: threading.Event, ended: threading.Event) -> None:
    with client.stream("GET", "/v1/events/stream") as stream:
        stands.set()
        for _ in stream.iter_raw():
            pass
    ended.set()
