"""What an agent costs beside the training: claims, heartbeats, measurements and reports to a real local service.

    python -m benchmarks.agent_overhead [--seconds 60] [--rounds 1] [--stack 4] [--points 10]

The same batch is trained by the engine alone and by an agent with that engine, in turn, in one process; the service is
a process of its own. Two figures come of each turn, both in percent of the training:

    own work    the CPU time that the agent's process used beside the training in the agent's own turn: its calls to
                the service, the main loop, the thread of leases, and what the training told it on the way. This is
                the overhead; other programs on the machine hardly change it
    whole turn  the wall time of the agent's turn beyond its training: waiting for claims and reports, and for the
                service, which shares the machine. Once a batch, so that it weighs less the longer one takes

The comparison of the two turns shows what else there is, such as threads that wait for each other; on a busy machine
it shows the noise.
"""

from __future__ import annotations

import argparse
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

import httpx
import torch

from benchmarks.queue_drain import running_service
from benchmarks.stacked_training import make_corpus, specs_for
from proxy_training.agent import Agent, AgentOptions
from proxy_training.corpus_read import Corpus
from proxy_training.engines.base import EngineOptions
from proxy_training.engines.in_process import InProcessEngine
from proxy_training.registration import Registration
from proxy_training.service_client import ServiceClient
from proxy_training.spec import ModelSpec, ProxySpec, TrajectoryPoint
from proxy_training.spool import Spool
from proxy_training.stopping import StopRequest
from proxy_training.work import Assignment, Outcome, Watcher

_CALIBRATION_TOKENS = 65_536

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


@dataclass
class Used:
    """Seconds."""

    wall: float = 0.0
    cpu: float = 0.0

    def add(self, wall: float, cpu: float) -> None:
        self.wall += wall
        self.cpu += cpu

    def over(self, other: Used) -> Used:
        """What this is beyond ``other``."""
        return Used(self.wall - other.wall, self.cpu - other.cpu)

    def percent_of(self, whole: Used) -> Used:
        return Used(100 * self.wall / whole.wall, 100 * self.cpu / whole.cpu)


class Unwatched:
    """A watcher that does nothing."""

    def stopping(self) -> bool:
        return False

    def unwanted(self) -> Collection[str]:
        return ()

    def progressed(self, run_ids: Collection[str], train_tokens: int) -> None:
        del run_ids, train_tokens

    def measured(self, run_id: str, point: TrajectoryPoint) -> None:
        del run_id, point

    def ended(self, run_id: str, outcome: Outcome) -> None:
        del run_id, outcome


class TimedWatcher:
    """Passes everything on, and knows how long that took the thread that trains."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self.used = Used()

    def stopping(self) -> bool:
        return self._timed(self._watcher.stopping)

    def unwanted(self) -> Collection[str]:
        return self._timed(self._watcher.unwanted)

    def progressed(self, run_ids: Collection[str], train_tokens: int) -> None:
        self._timed(self._watcher.progressed, run_ids, train_tokens)

    def measured(self, run_id: str, point: TrajectoryPoint) -> None:
        self._timed(self._watcher.measured, run_id, point)

    def ended(self, run_id: str, outcome: Outcome) -> None:
        self._timed(self._watcher.ended, run_id, outcome)

    def _timed(self, call: Callable[Arguments, Answer], *arguments: Arguments.args, **keys: Arguments.kwargs) -> Answer:
        wall, cpu = time.perf_counter(), time.thread_time()
        answer = call(*arguments, **keys)
        self.used.add(time.perf_counter() - wall, time.thread_time() - cpu)
        return answer


class TimedEngine(InProcessEngine):
    """Knows how long the training itself took: its thread without what the watcher did in it."""

    def __init__(self) -> None:
        super().__init__(EngineOptions())
        self.training = Used()

    def train(self, assignments: Sequence[Assignment], corpus_folder: Path | None, watcher: Watcher) -> None:
        timed = TimedWatcher(watcher)
        wall, cpu = time.perf_counter(), time.thread_time()
        super().train(assignments, corpus_folder, timed)
        wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
        self.training.add(wall - timed.used.wall, cpu - timed.used.cpu)


def specs_of_seconds(corpus: Corpus, seconds: float, stack: int, points: int) -> list[ProxySpec]:
    """A batch that takes about ``seconds`` here, measured ``points`` times on the way."""
    engine = InProcessEngine(EngineOptions())
    short = specs_for(corpus, ModelSpec(), _CALIBRATION_TOKENS, stack)
    taken = 0.0
    for _ in range(2):  # the first time corpora are opened and validation windows cut
        start = time.perf_counter()
        engine.train(_assignments(short), corpus.folder, Unwatched())
        taken = time.perf_counter() - start
    tokens = max(_CALIBRATION_TOKENS, int(_CALIBRATION_TOKENS * seconds / taken))
    long = specs_for(corpus, ModelSpec(), tokens, stack)
    at = tuple(tokens * (place + 1) // (points + 1) for place in range(points))
    settings = long[0].settings.model_copy(update={"measure_at_tokens": at})
    return [spec.model_copy(update={"settings": settings}) for spec in long]


def _assignments(specs: Sequence[ProxySpec]) -> list[Assignment]:
    return [Assignment(str(place), spec) for place, spec in enumerate(specs)]


def alone(engine: InProcessEngine, specs: Sequence[ProxySpec], corpus: Corpus) -> Used:
    """The batch by the engine alone."""
    wall, cpu = time.perf_counter(), time.process_time()
    engine.train(_assignments(specs), corpus.folder, Unwatched())
    return Used(time.perf_counter() - wall, time.process_time() - cpu)


def with_agent(engine: InProcessEngine, corpus: Corpus, client: ServiceClient, stack: int, folder: Path) -> Used:
    """All that is queued by an agent, from its first call to its last."""
    registration = Registration(client, "benchmark", "localhost", engine.device)
    options = AgentOptions(max_stack=stack, exit_when_idle_seconds=0)
    corpora = {corpus.corpus_hash: corpus.folder}
    wall, cpu = time.perf_counter(), time.process_time()
    Agent(client, registration, engine, corpora, Spool(folder), options, StopRequest()).run()
    return Used(time.perf_counter() - wall, time.process_time() - cpu)


def turn(
    http: httpx.Client, study: str, client: ServiceClient, specs: Sequence[ProxySpec], corpus: Corpus, spool: Path
) -> tuple[Used, Used, Used]:
    """The engine alone; the agent; and of the agent's turn the training."""
    engine = TimedEngine()
    # Opens the corpus and cuts the validation windows, which an agent does once for all its batches.
    engine.train(_assignments(specs_for(corpus, ModelSpec(), _CALIBRATION_TOKENS, 1)), corpus.folder, Unwatched())
    engine_alone = alone(engine, specs, corpus)
    queue(http, study, specs)
    engine.training = Used()
    return engine_alone, with_agent(engine, corpus, client, len(specs), spool), engine.training


def queue(http: httpx.Client, study: str, specs: Sequence[ProxySpec]) -> None:
    """Ask the service for the batch."""
    settings = specs[0].settings.model_dump(mode="json")
    runs = [{"weights": spec.stages[0].weights, "settings": settings, "seed": spec.seed} for spec in specs]
    http.post(f"studies/{study}/runs", json={"runs": runs}).raise_for_status()


def make_study(http: httpx.Client, domains: Sequence[str]) -> str:
    """The id of a study with these domains."""
    named = [{"name": name} for name in domains]
    answer = http.post("studies", json={"name": "overhead", "domains": named, "targets": named})
    return answer.raise_for_status().json()["id"]


def told(engine_alone: Used, agents_turn: Used, training: Used) -> None:
    """Print the figures of one turn."""
    more = agents_turn.over(training)
    share, other = more.percent_of(training), agents_turn.over(engine_alone).percent_of(engine_alone)
    print(f"training: {training.cpu:.1f} s CPU, {training.wall:.1f} s wall")
    print(f"  own work of the agent: {1000 * more.cpu:.0f} ms CPU, {share.cpu:.2f} % of the training")
    print(f"  whole turn of the agent: {more.wall:.2f} s wall beyond the training, {share.wall:.2f} %")
    print(f"  beside a turn of the engine alone: {other.cpu:+.2f} % CPU, {other.wall:+.2f} % wall, noise included")


def main() -> None:
    parser = argparse.ArgumentParser(description="What the agent costs beside the training.")
    parser.add_argument("--seconds", type=float, default=60.0, help="training time of a batch")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--stack", type=int, default=4)
    parser.add_argument("--points", type=int, default=10, help="measurements on the way")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    key = f"mw_{secrets.token_urlsafe(32)}"
    with tempfile.TemporaryDirectory() as name, running_service(Path(name) / "data", key, None) as (url, _):
        folder = Path(name)
        corpus = make_corpus(folder)
        specs = specs_of_seconds(corpus, options.seconds, options.stack, options.points)
        http = httpx.Client(base_url=f"{url}/v1/", headers={"Authorization": f"Bearer {key}"}, timeout=60)
        with http, ServiceClient(url, key) as client:
            study = make_study(http, corpus.domains)
            turns = [turn(http, study, client, specs, corpus, folder / "spool") for _ in range(options.rounds)]
            taken = http.get(f"studies/{study}/runs", params={"state": "succeeded", "limit": 100}).json()["items"]
    print(f"{len(taken)} results of {options.rounds * options.stack} runs are in, with {options.points} points each")
    for engine_alone, agents_turn, training in turns:
        told(engine_alone, agents_turn, training)


if __name__ == "__main__":
    main()
