"""The tests' own PostgreSQL keeps what was committed when it is killed, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.app.postgres_server import NoPostgres, PostgresServer
from tests.waiting import soon

ROOT = Path(__file__).resolve().parents[2]
# Says where its data are, and is then killed.
VICTIM = """
import sys, time
from tests.app.postgres_server import postgres_server
with postgres_server() as server:
    sys.stdout.write(f"{server.folder}\\n")
    sys.stdout.flush()
    time.sleep(600)
"""


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    try:
        server = PostgresServer()
    except NoPostgres as exc:
        pytest.skip(str(exc))
    yield server
    server.stop()


def test_what_was_committed_outlives_a_killed_server(server: PostgresServer) -> None:
    with psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 41 AS number")
    server.kill()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.url)
    server.start()
    with psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (41,)


def test_a_stopped_server_leaves_no_data(server: PostgresServer) -> None:
    assert server.folder.is_dir()
    server.stop()
    assert not server.folder.exists()


def test_a_server_ends_when_its_tests_are_killed(server: PostgresServer) -> None:
    del server  # asked for only to skip where there is no PostgreSQL
    with subprocess.Popen([sys.executable, "-c", VICTIM], stdout=subprocess.PIPE, text=True, cwd=ROOT) as victim:
        assert victim.stdout is not None
        folder = Path(victim.stdout.readline().strip())
        pid = (folder / "data" / "postmaster.pid").read_text().split()[0]
        victim.kill()
    assert soon(lambda: not folder.exists() and not Path(f"/proc/{pid}").exists())
