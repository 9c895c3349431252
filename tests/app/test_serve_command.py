"""``mixwright serve`` as its user runs it: one process tree that starts whole, or says in one sentence why not."""

from __future__ import annotations

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from app.client import Client
from app.first_key import running_at
from app.local_key import local_key
from app.schemas.fits import FitCreate
from app.schemas.runs import RunCreate
from app.schemas.studies import DomainIn, StudyCreate, TargetIn
from app.settings import Settings
from tests.waiting import PATIENCE_SECONDS, alive, children_of, soon

ROOT = Path(__file__).resolve().parents[2]


class Service:
    """A running ``mixwright serve``."""

    def __init__(self, folder: Path, *options: str, **environment: str) -> None:
        self.log = folder / f"serve-{uuid4().hex}.log"
        self.data = folder / "data"
        self._out = self.log.open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "serve", "--data-dir", str(folder / "data"), *options],
            cwd=ROOT,
            env=os.environ | environment,
            stdout=self._out,
            stderr=subprocess.STDOUT,
            # As a shell does: the signals of a terminal go to a group.
            start_new_session=True,
        )

    def url(self) -> str:
        found: list[str] = []

        def announced() -> bool:
            found[:] = re.findall(r"Mixwright is at (http://\S+) ", self.log.read_text())
            return bool(found) or self.process.poll() is not None

        assert soon(announced)
        assert found, self.log.read_text()
        return found[0]

    def client(self) -> Client:
        """With the key that the service left in its data folder."""
        return Client(self.url(), local_key(self.data))

    def children(self) -> list[int]:
        return sorted(children_of(self.process.pid))

    def finish(self, seconds: float = PATIENCE_SECONDS) -> int:
        code = self.process.wait(seconds)
        self._out.close()
        return code


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    started: list[Service] = []

    def run(*options: str, **environment: str) -> Service:
        started.append(Service(tmp_path, *options, **environment))
        return started[-1]

    yield run
    for service in started:
        if service.process.poll() is None:
            service.process.kill()
            service.finish()


def _use(service: Service) -> None:
    """A fit goes through the API and the worker."""
    with service.client() as client:
        client.wait_until_ready()
        names = ("a", "b")
        domains, targets = [DomainIn(name=name) for name in names], [TargetIn(name=name) for name in names]
        study = client.create_study(StudyCreate(name="served", domains=domains, targets=targets))
        shares = [(i + 0.5) / 8 for i in range(8)]
        runs = [RunCreate(weights={"a": s, "b": 1 - s}, losses={"a": 2 - s, "b": 1 + s / 2}) for s in shares]
        client.create_runs(study.id, runs)
        fit = client.create_fit(study.id, FitCreate(laws=["mean", "regmix_linear"]))
        assert client.wait_for_fit(fit.id, seconds=60).chosen_law == "regmix_linear"


@pytest.mark.slow
def test_the_service_runs_replaces_a_dead_worker_and_ends_as_a_whole(start: Callable[..., Service]) -> None:
    service = start("--port", "0")
    url = service.url()
    _use(service)

    port = url.rpartition(":")[2]
    second = start("--port", port, "--data-dir", str(service.log.parent / "other"))
    assert second.finish() == 1
    said = second.log.read_text().strip()
    assert said == (
        f"mixwright: port {port} on 127.0.0.1 is taken by another process; stop it or choose another with --port"
    )
    assert not (service.log.parent / "other").exists(), "it was refused before anything was made"

    (worker,) = service.children()
    os.kill(worker, signal.SIGKILL)
    assert soon(lambda: any(pid != worker for pid in service.children()))
    _use(service)

    tree = service.children()
    os.killpg(service.process.pid, signal.SIGINT)
    assert service.finish() == 0
    assert not [pid for pid in tree if alive(pid)]
    assert "Traceback" not in service.log.read_text()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/healthz", trust_env=False)


@pytest.mark.slow
def test_no_process_outlives_kill_9_and_the_next_start_goes_on(start: Callable[..., Service]) -> None:
    service = start("--port", "0")
    with service.client() as client:
        client.create_study(StudyCreate(name="kept", domains=[DomainIn(name="a")], targets=[TargetIn(name="a")]))
    tree = service.children()
    assert len(tree) == 1
    service.process.kill()
    service.finish()
    assert soon(lambda: not any(alive(pid) for pid in tree))

    again = start("--port", "0", "--workers", "0")
    with again.client() as client:
        assert [study.name for study in client.list_studies().items] == ["kept"]
    again.process.send_signal(signal.SIGTERM)
    assert again.finish() == 0


# --- refusals, without a process ---


def _refusal(settings: Settings, corpus: Path | None = None) -> str:
    from app.errors import RefusedToStart
    from app.serve import LocalAgents, serve

    agents = None if corpus is None else LocalAgents(corpus)
    with pytest.raises(RefusedToStart) as refused:
        serve(settings, agents, lambda started: pytest.fail(f"it started: {started}"))
    return refused.value.detail


def test_a_taken_port_is_refused(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"port {port} on 127.0.0.1 is taken" in _refusal(Settings(data_dir=tmp_path / "new", port=port))
    assert not (tmp_path / "new").exists()


def test_a_second_service_on_an_embedded_database_is_refused_and_leaves_the_first_one_alone(tmp_path: Path) -> None:
    first = Settings(data_dir=tmp_path, port=4711)
    with running_at(first):
        refusal = _refusal(Settings(data_dir=tmp_path, port=0))
        assert f"a service runs on {tmp_path} already (http://127.0.0.1:4711)" in refusal
        assert (tmp_path / "service.url").read_text() == "http://127.0.0.1:4711\n"
    assert not (tmp_path / "service.url").exists()
    with running_at(first):  # free again
        pass


def test_a_newer_database_is_refused(settings: Settings, database) -> None:
    from sqlalchemy import text

    with database.writing_connection() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert "is of revision 9999" in _refusal(settings.model_copy(update={"port": 0}))


def test_an_exposed_service_without_a_key_is_refused(tmp_path: Path) -> None:
    assert "mixwright keys create NAME --scope admin" in _refusal(Settings(data_dir=tmp_path, host="0.0.0.0", port=0))


def test_an_unknown_host_is_refused(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, host="no-such-host.invalid", api_key="k", port=0)  # type: ignore[arg-type]
    assert "'no-such-host.invalid' is not known" in _refusal(settings)


def test_an_address_of_another_machine_is_refused(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, host="192.0.2.1", api_key="k", port=0)  # type: ignore[arg-type]
    assert "cannot be bound" in _refusal(settings)


def test_a_folder_that_is_no_corpus_is_refused(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", port=0)
    assert "corpus is not there" in _refusal(settings, tmp_path / "corpus")
    assert "holds no manifest.json" in _refusal(settings, tmp_path)


def test_a_signal_within_a_finaliser_of_the_start_stops_it_all_the_same(tmp_path: Path) -> None:
    start = """
import os, signal
import app.serve
from app.cli import main

class Finalised:
    def __del__(self):  # what is raised in here is dropped
        os.kill(os.getpid(), signal.SIGTERM)

upgrade = app.serve.upgrade
app.serve.upgrade = lambda settings: [upgrade(settings), Finalised()]
main()
"""
    command = [sys.executable, "-c", start, "serve", "--data-dir", str(tmp_path / "data"), "--port", "0"]
    ended = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_SECONDS, start_new_session=True
    )
    assert ended.returncode == 0, ended.stderr
    assert "Exception ignored" in ended.stderr
    assert "Mixwright is at" not in ended.stdout


def test_signals_are_as_before_after_a_refusal(tmp_path: Path) -> None:
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    _refusal(Settings(data_dir=tmp_path, host="0.0.0.0", port=0))
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_db_upgrade_makes_the_database_and_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "app.cli", "db", "upgrade", "--data-dir", str(tmp_path / "data")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    newest = max(path.name[:4] for path in (ROOT / "migrations" / "versions").glob("[0-9]*.py"))
    assert (done.returncode, done.stdout) == (0, f"The database is at revision {newest}.\n")
    connection = sqlite3.connect(tmp_path / "data" / "mixwright.sqlite3")
    assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(newest,)]
    connection.execute("UPDATE alembic_version SET version_num = 'x'")
    connection.commit()
    connection.close()
    refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 1
    assert "is of revision x, which this version of Mixwright does not know" in refused.stderr
    assert refused.stderr.count("\n") == 1
