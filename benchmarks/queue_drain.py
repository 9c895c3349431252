"""How fast agents drain the queue of a real service, and whether a run is lost or counted twice on the way.

    python -m benchmarks.queue_drain [--postgres-url URL] [--agents 16] [--runs 2000] [--stack 4] [--singly]

A ``mixwright serve`` process on SQLite (or on a fresh database of the server that URL names) gets the runs; agents,
threads of one other process, claim stacks over HTTP and report a made-up result for each run at once: one call a
stack, as the real agent does, or with ``--singly`` one call a result. CPU seconds are of the whole process tree.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import create_engine, make_url, text

from proxy_training.service_client import ClaimedRun, ReportedResult, ServiceClient
from proxy_training.spec import Measured, ProxyResult

CORPUS = "drained"
KEY_VARIABLE = "MIXWRIGHT_API_KEY"
_DOMAINS = ("books", "code", "law", "web")
_RUNS_A_CALL = 1000


@contextmanager
def fresh_database(server: str) -> Iterator[str]:
    """The URL of an empty database on a PostgreSQL server, dropped at the end."""
    url = make_url(server).set(drivername="postgresql+psycopg")
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    name = f"mixwright_drain_{secrets.token_hex(6)}"
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        admin.dispose()


@contextmanager
def running_service(folder: Path, key: str, database_url: str | None) -> Iterator[tuple[str, int]]:
    """The address and the process id of a service that ends with the block."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MIXWRIGHT_")}
    # A benchmark with one key for all agents must not measure the limit of calls a key.
    environment |= {KEY_VARIABLE: key, "MIXWRIGHT_RATE_LIMIT": "100000/second", "OMP_NUM_THREADS": "1"}
    if database_url:
        environment["MIXWRIGHT_DATABASE_URL"] = database_url
    command = [sys.executable, "-m", "app.cli", "serve", "--port", "0", "--data-dir", str(folder)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://\S+", process.stdout.readline())
            if found is None:
                raise SystemExit("the service did not start")
            yield found.group(), process.pid
        finally:
            process.terminate()


def queue_runs(http: httpx.Client, count: int) -> str:
    """A study with ``count`` queued runs of one batch key. Returns its id."""
    body = {"name": "drain", "domains": [{"name": name} for name in _DOMAINS], "targets": [{"name": "web"}]}
    study = _json(http.post("studies", json=body))["id"]
    settings = {"corpus_hash": CORPUS, "train_tokens": 4096}
    weights = dict.fromkeys(_DOMAINS, 1 / len(_DOMAINS))
    for start in range(0, count, _RUNS_A_CALL):
        seeds = range(start, min(start + _RUNS_A_CALL, count))
        runs = [{"weights": weights, "settings": settings, "seed": seed} for seed in seeds]
        _json(http.post(f"studies/{study}/runs", json={"runs": runs}))
    return study


def drain(url: str, agents: int, stack: int, singly: bool) -> dict[str, Any]:
    """What the process of the agents does: drain the queue, and tell how long it took and which results were taken."""
    with ServiceClient(url, os.environ[KEY_VARIABLE]) as client, ThreadPoolExecutor(agents) as pool:
        started, cpu = time.perf_counter(), time.process_time()
        taken = list(pool.map(lambda number: _agent(client, number, stack, singly), range(agents)))
        seconds = time.perf_counter() - started
        return {"seconds": seconds, "cpu": time.process_time() - cpu, "taken": [run for runs in taken for run in runs]}


def _agent(client: ServiceClient, number: int, stack: int, singly: bool) -> list[str]:
    agent = client.register(f"agent-{number}", "benchmark", "none")
    taken: list[str] = []
    while runs := client.claim(agent, stack, [CORPUS], 30.0):
        if not singly:
            reports = [ReportedResult(run_id=run.run_id, attempt=run.attempt, result=_result(run)) for run in runs]
            lost = set(client.complete_many(reports))
            taken += [run.run_id for run in runs if run.run_id not in lost]
            continue
        for run in runs:
            client.complete(run.run_id, run.attempt, _result(run))
            taken.append(run.run_id)
    return taken


def _result(run: ClaimedRun) -> ProxyResult:
    losses = {name: Measured(value=1 + run.spec.seed / 1e6, stderr=0.01) for name in _DOMAINS}
    return ProxyResult(
        status="succeeded",
        train_tokens=run.spec.settings.train_tokens,
        losses=losses,
        realised_weights=run.spec.stages[0].weights,
        wall_seconds=0.5,
    )


def stored_runs(http: httpx.Client, study: str) -> list[dict[str, Any]]:
    """Every run of the study, as the service has it afterwards."""
    runs: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        query = {"limit": "1000"} | ({"cursor": cursor} if cursor else {})
        page = _json(http.get(f"studies/{study}/runs", params=query))
        runs += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return runs


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and its living children."""
    ticks = os.sysconf("SC_CLK_TCK")
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / ticks + sum(cpu_seconds(int(child)) for child in children)


def measure(database_url: str | None, options: argparse.Namespace) -> None:
    """One drain, from a fresh service to a line of figures."""
    key = secrets.token_urlsafe(24)
    with (
        tempfile.TemporaryDirectory() as folder,
        running_service(Path(folder), key, database_url) as (url, pid),
        httpx.Client(base_url=f"{url}/v1/", headers={"Authorization": f"Bearer {key}"}, timeout=120) as http,
    ):
        study = queue_runs(http, options.runs)
        before = cpu_seconds(pid)
        told = _drained_elsewhere(url, key, options)
        used = cpu_seconds(pid) - before
        runs = stored_runs(http, study)
    succeeded = {run["id"] for run in runs if run["state"] == "succeeded"}
    wrong = [run for run in runs if run["id"] in succeeded and run["losses"]["web"]["value"] != 1 + run["seed"] / 1e6]
    twice = [run for run, count in Counter(told["taken"]).items() if count > 1]
    name = "PostgreSQL" if database_url else "SQLite"
    print(
        f"{name}: {len(succeeded) / told['seconds']:.0f} completions a second "
        f"({options.runs} runs, {options.agents} agents, stacks of {options.stack}, {told['seconds']:.1f} s); "
        f"lost {options.runs - len(succeeded)}, counted twice {len(twice)}, wrong {len(wrong)}, "
        f"attempts {sum(run['attempt'] for run in runs)}; "
        f"CPU: service {used:.1f} s, agents {told['cpu']:.1f} s"
    )


def _drained_elsewhere(url: str, key: str, options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.queue_drain", "--drain", url]
    command += [
        "--agents",
        str(options.agents),
        "--stack",
        str(options.stack),
        *(["--singly"] if options.singly else []),
    ]
    done = subprocess.run(command, env=os.environ | {KEY_VARIABLE: key}, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout)


def _json(response: httpx.Response) -> Any:
    if not response.is_success:
        raise SystemExit(f"{response.request.url}: {response.status_code} {response.text}")
    return response.json()


def main() -> None:
    parser = argparse.ArgumentParser(description="Completions a second of a drained queue.")
    parser.add_argument("--postgres-url", help="a PostgreSQL server whose user may create databases; else SQLite")
    parser.add_argument("--agents", type=int, default=16)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--stack", type=int, default=4, help="runs a claim")
    parser.add_argument("--singly", action="store_true", help="report each result in a call of its own")
    parser.add_argument("--drain", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drain:
        print(json.dumps(drain(options.drain, options.agents, options.stack, options.singly)))
    elif options.postgres_url:
        with fresh_database(options.postgres_url) as database_url:
            measure(database_url, options)
    else:
        measure(None, options)


if __name__ == "__main__":
    main()
