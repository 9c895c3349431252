"""How fast a real service answers training pipelines and pages of runs, with many runs stored.

    python -m benchmarks.weights_read [--postgres-url URL] [--runs 100000] [--rate 200] [--seconds 15]

A ``mixwright serve`` process on SQLite (or on a fresh database of the server that URL names) holds one study with the
runs and one with 1000. First its current weights are asked for at a fixed rate, as new readers do and as those do who
have them already (304). A latency counts from the moment at which the call was due, so that a stall counts for every
call that had to wait. Then pages of runs are read at the start, in the middle and at the end of both studies; the ratio
tells whether a page costs more as the table grows. On a machine that is busy with other things, the CPU seconds a call
of the service say more than the clock.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import secrets
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import numpy as np
from sqlalchemy import insert

from app.db import Database
from app.ids import new_ids
from app.migrate import upgrade
from app.models import Run
from app.schemas.runs import RunSource, RunState
from app.schemas.studies import DomainIn, StudyCreate, TargetIn
from app.services.studies import create_study, find_study
from app.services.weights import adopt
from app.settings import Settings
from benchmarks.queue_drain import cpu_seconds, fresh_database, running_service
from benchmarks.stored_recommendations import store_recommendation

DOMAINS, TARGETS = 20, 10
FEW_RUNS = 1000
_ROWS_AT_ONCE = 5000
_PAGE = 100
_WALK = 1000
_REPEATS = 30
_WARM_UP_CALLS = 50


@dataclass(frozen=True)
class Latencies:
    """Milliseconds of the calls of one round, the rate reached, and the service's CPU milliseconds a call."""

    milliseconds: Sequence[float]
    rate: float
    cpu_milliseconds: float

    def __str__(self) -> str:
        p50, p99 = np.percentile(self.milliseconds, [50, 99])
        return (
            f"p50 {p50:6.2f} ms   p99 {p99:6.2f} ms   most {max(self.milliseconds):7.2f} ms   "
            f"{self.rate:6.1f} calls/s   {self.cpu_milliseconds:.2f} ms of the service's CPU a call"
        )


def fill(settings: Settings, counts: Sequence[int]) -> list[UUID]:
    """A study for each number of measured runs, with adopted weights."""
    upgrade(settings)
    database, now = Database(settings.resolved_database_url), datetime.now(UTC)
    names = [f"domain{j}" for j in range(DOMAINS)]
    domains = [DomainIn(name=name, available_tokens=10**9) for name in names]
    targets = [TargetIn(name=f"target{i}") for i in range(TARGETS)]
    studies = []
    for count in counts:
        with database.write() as session:
            made = create_study(session, StudyCreate(name=f"{count} runs", domains=domains, targets=targets), now)
        with database.write() as session:
            weights = dict.fromkeys(names, 1 / DOMAINS)
            recommendation = store_recommendation(session, find_study(session, made.id), weights, now)
        with database.write() as session:
            adopt(session, recommendation, "recommended", now)
        _insert_runs(database, made.id, made.domain_set.id, count, now)
        studies.append(made.id)
    database.dispose()
    return studies


def _insert_runs(database: Database, study: UUID, domain_set: UUID, count: int, now: datetime) -> None:
    rng, ids = np.random.default_rng(0), new_ids(count, now)
    common: dict[str, Any] = {
        "study_id": study, "domain_set_id": domain_set, "label": "", "purpose": "swarm", "state": RunState.SUCCEEDED,
        "source": RunSource.IMPORTED, "exclude_from_fit": False, "model_params": 10**7, "train_tokens": 10**9,
        "queue_rank": 0, "attempt": 0, "max_attempts": 5, "progress_tokens": 10**9, "created_at": now,
        "finished_at": now,
    }  # fmt: skip
    for start in range(0, count, _ROWS_AT_ONCE):
        part = ids[start : start + _ROWS_AT_ONCE]
        p, losses = (
            rng.dirichlet(np.ones(DOMAINS), len(part)).tolist(),
            rng.uniform(2, 3, (len(part), TARGETS)).tolist(),
        )
        rows = [
            common
            | {
                "id": key,
                "seed": start + i,
                "weights": {f"domain{j}": weight for j, weight in enumerate(p[i])},
                "losses": {f"target{j}": {"value": value, "stderr": None} for j, value in enumerate(losses[i])},
            }
            for i, key in enumerate(part)
        ]
        with database.write() as session:
            session.execute(insert(Run), rows)
            session.commit()


def _key_of_a_pipeline(url: str, admin: str, study: UUID) -> str:
    body = {"name": "pipeline", "scopes": ["read"], "study_id": str(study)}
    answer = httpx.post(f"{url}/v1/keys", json=body, headers={"Authorization": f"Bearer {admin}"}, timeout=30)
    return answer.raise_for_status().json()["key"]


async def _ask(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path)
    if answer.status_code != httpx.codes.NOT_MODIFIED:
        answer.raise_for_status()


async def ask_at_rate(http: httpx.AsyncClient, path: str, rate: float, seconds: float, pid: int) -> Latencies:
    """Call ``path`` ``rate`` times a second, whether or not the calls before have been answered."""
    for _ in range(_WARM_UP_CALLS):
        await _ask(http, path)
    latencies: list[float] = []
    count, cpu, started = int(rate * seconds), cpu_seconds(pid), time.perf_counter()

    async def call(due: float) -> None:
        await _ask(http, path)
        latencies.append(1000 * (time.perf_counter() - due))

    async with asyncio.TaskGroup() as calls:
        for i in range(count):
            due = started + i / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            calls.create_task(call(due))
    elapsed = time.perf_counter() - started
    return Latencies(latencies, count / elapsed, 1000 * (cpu_seconds(pid) - cpu) / count)


async def read_weights(url: str, key: str, study: UUID, rate: float, seconds: float, pid: int) -> None:
    """Print what new readers and those who have the weights already wait for."""
    path, headers = f"{url}/v1/studies/{study}/weights", {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(headers=headers, timeout=30) as http:
        etag = (await http.get(path)).raise_for_status().headers["etag"]
        print(f"weights, 200: {await ask_at_rate(http, path, rate, seconds, pid)}")
        http.headers["If-None-Match"] = etag
        print(f"weights, 304: {await ask_at_rate(http, path, rate, seconds, pid)}")


def page_seconds(http: httpx.Client, study: UUID) -> dict[str, float]:
    """Median seconds of the first, the middle and the last page of 100 runs."""
    path = f"studies/{study}/runs"
    cursors: list[str | None] = [None]
    while (following := http.get(path, params=_query(_WALK, cursors[-1])).json()["next_cursor"]) is not None:
        cursors.append(following)
    asked = {"first": None, "middle": cursors[len(cursors) // 2], "last": cursors[-1]}
    return {name: _median_seconds(http, path, _query(_PAGE, cursor)) for name, cursor in asked.items()}


def _query(limit: int, cursor: str | None) -> dict[str, str]:
    return {"limit": str(limit)} | ({"cursor": cursor} if cursor else {})


def _median_seconds(http: httpx.Client, path: str, query: dict[str, str]) -> float:
    times = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        http.get(path, params=query).raise_for_status()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def read_pages(url: str, key: str, few: UUID, many: UUID, runs: int) -> None:
    """Print the pages of both studies and their ratios."""
    with httpx.Client(base_url=f"{url}/v1/", headers={"Authorization": f"Bearer {key}"}, timeout=60) as http:
        small, large = page_seconds(http, few), page_seconds(http, many)
    for name in small:
        print(
            f"page of {_PAGE}, {name:6}: {1000 * small[name]:6.2f} ms of {FEW_RUNS} runs, {1000 * large[name]:6.2f} ms "
            f"of {runs} runs, ratio {large[name] / small[name]:.2f}"
        )


def main() -> None:
    """Fill a database, start the service on it, ask and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--postgres-url", help="a PostgreSQL server whose user may create databases")
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=15)
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database = stack.enter_context(fresh_database(options.postgres_url)) if options.postgres_url else None
        started = time.perf_counter()
        few, many = fill(Settings(data_dir=folder, database_url=database), [FEW_RUNS, options.runs])
        kind = "PostgreSQL" if database else "SQLite"
        stored = f"{options.runs} runs stored in {time.perf_counter() - started:.0f} s"
        print(f"{kind}: {stored}; load of the machine {os.getloadavg()[0]:.1f}", flush=True)
        key = secrets.token_hex(16)
        url, pid = stack.enter_context(running_service(folder, key, database))
        asyncio.run(read_weights(url, _key_of_a_pipeline(url, key, many), many, options.rate, options.seconds, pid))
        read_pages(url, key, few, many, options.runs)


if __name__ == "__main__":
    main()
