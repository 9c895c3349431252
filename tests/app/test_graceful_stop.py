"""SIGTERM to a service at work: what was begun is answered, streams end, and nothing is left behind."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from app.local_key import local_key
from tests.app.study_bodies import study_body
from tests.waiting import soon

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
        assert soon(lambda: "Mixwright is at" in log.read_text(), 30)
        url = re.findall(r"Mixwright is at (http://\S+) ", log.read_text())[0]
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {local_key(data)}"}, timeout=30) as client:
            assert soon(lambda: _ready(client), 30)
            answers: list[int] = []
            asking = threading.Thread(target=lambda: answers.append(_ask(client)))
            stream_ended = threading.Event()
            listening = threading.Thread(target=lambda: _listen(client, stream_ended))
            with closing(sqlite3.connect(data / "mixwright.sqlite3", isolation_level=None)) as holder:
                listening.start()
                time.sleep(0.5)
                holder.execute("BEGIN IMMEDIATE")
                asking.start()
                time.sleep(0.5)
                service.send_signal(signal.SIGTERM)
                assert stream_ended.wait(3)
                assert answers == []
                assert service.poll() is None
                holder.execute("COMMIT")
            asking.join(10)
            listening.join(10)
        assert answers == [201]
        assert service.wait(15) == 0
    finally:
        if service.poll() is None:
            service.kill()
            service.wait()
    assert "Traceback" not in log.read_text()
    with closing(sqlite3.connect(data / "mixwright.sqlite3")) as database:
        assert database.execute("SELECT count(*) FROM studies").fetchone() == (1,)


def _ready(client: httpx.Client) -> bool:
    return client.get("/readyz").status_code == 200


def _ask(client: httpx.Client) -> int:
    return client.post("/v1/studies", json=study_body()).status_code


def _listen(client: httpx.Client, ended: threading.Event) -> None:
    with client.stream("GET", "/v1/events/stream") as stream:
        for _ in stream.iter_raw():
            pass
    ended.set()
