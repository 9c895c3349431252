"""An agent against a service that breaks: every run is counted once and nothing is left behind."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import Queue
from typing import ClassVar

import pytest

from proxy_training import agent as agent_module
from proxy_training import leases as leases_module
from proxy_training.agent import Agent, AgentOptions
from proxy_training.engines.base import Engine, EngineOptions
from proxy_training.errors import CorpusError, ProxyError, Refused, Unreachable
from proxy_training.registration import Registration
from proxy_training.service_client import ServiceClient
from proxy_training.spec import Measured, Processor, ProxyResult, ProxySettings, TrajectoryPoint
from proxy_training.spool import Spool
from proxy_training.stopping import StopRequest
from proxy_training.work import Assignment, Watcher
from tests.proxy_training.fake_service import FakeService
from tests.proxy_training.text_corpora import names_in
from tests.proxy_training.training_cases import STEP_TOKENS, made_up_run
from tests.waiting import PATIENCE_SECONDS, soon

LOSSES = {"a": Measured(value=2.0), "b": Measured(value=3.0)}
RESULT = ProxyResult(status="succeeded", train_tokens=STEP_TOKENS, losses=LOSSES)
Script = Callable[[Sequence[Assignment], Watcher], None]


def finish(assignments: Sequence[Assignment], watcher: Watcher) -> None:
    """Give every run its result at once."""
    for assignment in assignments:
        watcher.ended(assignment.run_id, RESULT)


class ScriptedEngine(Engine):
    """Does what the test says instead of training."""

    name: ClassVar[str] = "scripted"
    summary: ClassVar[str] = "for tests"

    def __init__(self, script: Script = finish, stack: int = 2) -> None:
        super().__init__(EngineOptions())
        self._script = script
        self._stack = stack
        self.batches: list[list[str]] = []

    @property
    def device(self) -> str:
        return "none"

    @property
    def processor(self) -> Processor:
        return "cpu"

    def preferred_stack(self, settings: ProxySettings) -> int:
        # The default model is what an agent expects before it has seen a run.
        return 3 if settings.corpus_hash == "any" else self._stack

    def train(self, assignments: Sequence[Assignment], corpus_folder: Path | None, watcher: Watcher) -> None:
        assert corpus_folder == Path("folder")
        self.batches.append([assignment.run_id for assignment in assignments])
        self._script(assignments, watcher)


class StandingClock:
    """Leases run out only when a test says so, however long the agent or the test is held up."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def service(clock: StandingClock) -> Iterator[FakeService]:
    fake = FakeService([made_up_run(seed) for seed in range(5)], api_key="secret", clock=clock)
    fake.start()
    yield fake
    fake.stop()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of a test, not of a data centre."""
    for name in ("_FIRST_POLL_SECONDS", "_LONGEST_POLL_SECONDS", "_FIRST_OUTAGE_SECONDS", "_LONGEST_OUTAGE_SECONDS"):
        monkeypatch.setattr(agent_module, name, 0.02)
    monkeypatch.setattr(leases_module, "_REPORT_EVERY_SECONDS", 0.02)


def run_agent(
    service: FakeService,
    spool: Path,
    engine: Engine | None = None,
    stop: StopRequest | None = None,
    key: str = "secret",
    lease_seconds: float = 30.0,
    max_stack: int | None = None,
    idle_seconds: float = 0.0,
) -> None:
    """Run an agent until there is no work."""
    with ServiceClient(service.url, key) as client:
        options = AgentOptions(lease_seconds, max_stack, exit_when_idle_seconds=idle_seconds)
        registration = Registration(client, "agent", "host", "device")
        engine = engine or ScriptedEngine()
        corpora = {"corpus": Path("folder")}
        Agent(client, registration, engine, corpora, Spool(spool), options, stop or StopRequest()).run()


class StopWhenAllIsDone(StopRequest):
    """Asked when the service has a result of every run."""

    def __init__(self, service: FakeService) -> None:
        super().__init__()
        self._service = service

    @property
    def asked(self) -> bool:
        return super().asked or all(run.completions for run in self._service.runs.values())


def test_an_agent_drains_the_queue_and_each_run_counts_once(tmp_path: Path, service: FakeService) -> None:
    engine = ScriptedEngine(stack=2)
    run_agent(service, tmp_path, engine)
    assert service.states() == ["succeeded"] * 5
    assert [run.completions for run in service.runs.values()] == [1] * 5
    assert names_in(tmp_path) == []


def test_runs_beyond_the_best_stack_go_back_and_later_claims_ask_for_no_more(
    tmp_path: Path, service: FakeService
) -> None:
    engine = ScriptedEngine(stack=2)
    run_agent(service, tmp_path, engine)
    assert [len(batch) for batch in engine.batches] == [2, 2, 1]
    assert [claim["max_runs"] for claim in service.calls_of("claim")][:3] == [3, 2, 2]
    assert len(service.calls_of("release")) == 1


def test_a_given_stack_is_claimed_and_trained_whole(tmp_path: Path, service: FakeService) -> None:
    engine = ScriptedEngine(stack=2)
    run_agent(service, tmp_path, engine, max_stack=5)
    assert [len(batch) for batch in engine.batches] == [5]


def test_a_run_that_was_taken_away_is_dropped_when_its_report_is_late(tmp_path: Path, service: FakeService) -> None:
    def lose_one(assignments: Sequence[Assignment], watcher: Watcher) -> None:
        if assignments[0].run_id == first:
            service.take_away(first)
        finish(assignments, watcher)

    first = next(iter(service.runs))
    run_agent(service, tmp_path, ScriptedEngine(lose_one))
    assert service.runs[first].completions == 0
    assert service.runs[first].agent_id == "another agent"
    assert service.states() == ["leased", *["succeeded"] * 4]
    assert names_in(tmp_path) == []


def test_a_run_that_a_heartbeat_finds_lost_is_unwanted_while_it_trains(tmp_path: Path, service: FakeService) -> None:
    seen: list[str] = []

    def wait_until_unwanted(assignments: Sequence[Assignment], watcher: Watcher) -> None:
        if not seen:
            service.take_away(assignments[0].run_id)
            assert soon(lambda: bool(watcher.unwanted()))
            seen.extend(watcher.unwanted())
        finish([each for each in assignments if each.run_id not in seen], watcher)

    run_agent(service, tmp_path, ScriptedEngine(wait_until_unwanted), lease_seconds=0.15)
    assert seen == [next(iter(service.runs))]
    assert service.states() == ["leased", *["succeeded"] * 4]
    assert seen[0] not in [body.get("run_id") for body in service.calls_of("complete")]


def test_leases_are_kept_alive_and_progress_is_shown_while_a_batch_trains(
    tmp_path: Path, service: FakeService, clock: StandingClock
) -> None:
    def longer_than_a_lease(assignments: Sequence[Assignment], watcher: Watcher) -> None:
        ids = [assignment.run_id for assignment in assignments]
        watcher.progressed(ids, 640)
        assert soon(lambda: service.runs[ids[0]].progress_tokens == 640)
        for _ in range(3):
            clock.seconds += 0.2
            assert soon(lambda: all(service.runs[run_id].lease_until >= clock.seconds + 0.3 for run_id in ids))
        finish(assignments, watcher)

    run_agent(service, tmp_path, ScriptedEngine(longer_than_a_lease), lease_seconds=0.3)
    assert service.states() == ["succeeded"] * 5
    assert [run.attempt for run in service.runs.values() if run.completions] == [1, 1, 2, 1, 1]  # one was given back


def test_points_of_the_trajectory_arrive_before_the_result(tmp_path: Path, service: FakeService) -> None:
    def measure_first(assignments: Sequence[Assignment], watcher: Watcher) -> None:
        run_id = assignments[0].run_id
        watcher.measured(run_id, TrajectoryPoint(train_tokens=32, losses=LOSSES))
        assert soon(lambda: service.runs[run_id].points == [32])
        assert service.runs[run_id].result is None
        finish(assignments, watcher)

    run_agent(service, tmp_path, ScriptedEngine(measure_first))
    assert service.states() == ["succeeded"] * 5


def test_a_server_that_restarts_in_the_middle_gets_every_result_once(tmp_path: Path, service: FakeService) -> None:
    def server_goes(assignments: Sequence[Assignment], watcher: Watcher) -> None:
        if not down.is_set():
            service.stop()
            down.set()
        finish(assignments, watcher)

    down = threading.Event()
    # Trouble counts as idleness: only the last result ends this agent, not its patience.
    options = {"stop": StopWhenAllIsDone(service), "idle_seconds": PATIENCE_SECONDS}
    worker = threading.Thread(target=run_agent, args=(service, tmp_path, ScriptedEngine(server_goes)), kwargs=options)
    worker.start()
    assert down.wait(PATIENCE_SECONDS)
    assert soon(lambda: len(names_in(tmp_path)) == 2)  # the results are safe before anything is sent
    service.start()
    worker.join(PATIENCE_SECONDS)
    assert [run.completions for run in service.runs.values()] == [1] * 5
    assert names_in(tmp_path) == []


def test_results_that_one_agent_could_not_deliver_are_delivered_by_the_next(
    tmp_path: Path, service: FakeService
) -> None:
    def server_goes_for_good(assignments: Sequence[Assignment], watcher: Watcher) -> None:
        service.stop()
        finish(assignments, watcher)

    with pytest.raises(Unreachable):
        run_agent(service, tmp_path, ScriptedEngine(server_goes_for_good))
    assert service.states().count("succeeded") == 0
    assert len(names_in(tmp_path)) == 2
    service.start()
    run_agent(service, tmp_path)
    assert [run.completions for run in service.runs.values()] == [1] * 5
    assert [run.attempt for run in service.runs.values()][:2] == [1, 1]  # nothing was trained again


def test_a_run_whose_report_a_neighbour_has_delivered_is_held_no_more(
    tmp_path: Path, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_FIRST_POLL_SECONDS", "_LONGEST_POLL_SECONDS"):
        monkeypatch.setattr(agent_module, name, PATIENCE_SECONDS)  # only the end of a batch ends a pause
    resting: Queue[Agent] = Queue()
    pause = Agent._pause

    def pausing(agent: Agent, seconds: float) -> None:
        resting.put(agent)
        pause(agent, seconds)

    monkeypatch.setattr(Agent, "_pause", pausing)

    def neighbour_delivers(assignments: Sequence[Assignment], watcher: Watcher) -> None:
        agent = resting.get(timeout=PATIENCE_SECONDS)  # it delivers nothing now before the batch is over
        finish(assignments, watcher)
        with ServiceClient(service.url, "secret") as neighbour:
            spool = Spool(tmp_path)
            for report in spool.reports(service.url):
                assert spool.deliver(report, neighbour)
        assert soon(lambda: not agent._leases._held)  # a heartbeat has found out, and was the last one for them

    run_agent(service, tmp_path, ScriptedEngine(neighbour_delivers), lease_seconds=0.15)
    assert [run.completions for run in service.runs.values()] == [1] * 5


def test_an_agent_that_the_service_has_forgotten_registers_again(tmp_path: Path, service: FakeService) -> None:
    def forget(assignments: Sequence[Assignment], watcher: Watcher) -> None:
        service.agents.clear()
        finish(assignments, watcher)

    run_agent(service, tmp_path, ScriptedEngine(forget))
    assert len(service.calls_of("register")) > 1
    assert service.states() == ["succeeded"] * 5


def test_a_heartbeat_that_is_not_known_registers_again_and_the_training_goes_on(
    tmp_path: Path, service: FakeService
) -> None:
    def forgotten_while_training(assignments: Sequence[Assignment], watcher: Watcher) -> None:
        if len(service.calls_of("register")) == 1:
            service.agents.clear()
            assert soon(lambda: len(service.calls_of("register")) == 2)
        finish(assignments, watcher)

    run_agent(service, tmp_path, ScriptedEngine(forgotten_while_training), lease_seconds=0.15)
    assert service.states() == ["succeeded"] * 5


def test_a_stop_gives_back_what_is_not_done_and_delivers_what_is(tmp_path: Path, service: FakeService) -> None:
    stop = StopRequest()

    def stop_halfway(assignments: Sequence[Assignment], watcher: Watcher) -> None:
        watcher.ended(assignments[0].run_id, RESULT)
        stop.ask()
        assert watcher.stopping()

    run_agent(service, tmp_path, ScriptedEngine(stop_halfway), stop)
    assert service.states() == ["succeeded", *["queued"] * 4]
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_in_trouble_is_asked_again(status: int, tmp_path: Path, service: FakeService) -> None:
    service.answer_next = {"register": [status], "claim": [status] * 2, "complete": [status] * 3}
    # Trouble counts as idleness, and on a busy machine it may last.
    run_agent(service, tmp_path, stop=StopWhenAllIsDone(service), idle_seconds=PATIENCE_SECONDS)
    assert [run.completions for run in service.runs.values()] == [1] * 5


def test_a_wrong_key_ends_the_agent_with_a_sentence_and_is_in_no_log(
    tmp_path: Path, service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(Refused, match="does not know the key"):
        run_agent(service, tmp_path, key="hunter2")
    assert "hunter2" not in caplog.text


def test_a_service_that_is_never_there_ends_an_agent_that_may_not_idle(tmp_path: Path) -> None:
    nowhere = FakeService([])
    with pytest.raises(Unreachable, match="cannot be reached"):
        run_agent(nowhere, tmp_path)


def test_a_batch_that_breaks_is_reported_and_tried_again(tmp_path: Path, service: FakeService) -> None:
    def break_once(assignments: Sequence[Assignment], watcher: Watcher) -> None:
        if len(engine.batches) == 1:
            watcher.ended(assignments[0].run_id, RESULT)
            raise RuntimeError("the matrix fell over")
        finish(assignments, watcher)

    engine = ScriptedEngine(break_once)
    run_agent(service, tmp_path, engine)
    assert service.states() == ["succeeded"] * 5
    (failure,) = service.calls_of("fail")
    assert failure["reason"] == "RuntimeError: the matrix fell over"
    assert failure["retry"] is True


def test_an_engine_that_breaks_again_and_again_ends_the_agent_before_the_queue_is_burnt(
    tmp_path: Path, service: FakeService
) -> None:
    def broken(assignments: Sequence[Assignment], watcher: Watcher) -> None:
        del assignments, watcher
        raise RuntimeError("no such device")

    with pytest.raises(ProxyError, match="3 batches in a row broke, the last one with RuntimeError: no such device"):
        run_agent(service, tmp_path, ScriptedEngine(broken))
    assert "leased" not in service.states()
    assert "failed" not in service.states()  # another agent may fare better


def test_a_corpus_that_cannot_be_read_ends_the_agent_at_once(tmp_path: Path, service: FakeService) -> None:
    def gone(assignments: Sequence[Assignment], watcher: Watcher) -> None:
        del assignments, watcher
        raise CorpusError("the shard is missing")

    engine = ScriptedEngine(gone)
    with pytest.raises(CorpusError, match="the shard is missing"):
        run_agent(service, tmp_path, engine)
    assert len(engine.batches) == 1
    assert service.states() == ["queued"] * 5


def test_an_engine_that_forgets_a_run_does_not_hold_it_for_ever(tmp_path: Path, service: FakeService) -> None:
    def forget_the_last(assignments: Sequence[Assignment], watcher: Watcher) -> None:
        finish(assignments[:-1] if len(engine.batches) == 1 else assignments, watcher)

    engine = ScriptedEngine(forget_the_last)
    run_agent(service, tmp_path, engine)
    assert [body["reason"] for body in service.calls_of("fail")] == ["the engine ended without an outcome"]
    assert service.states() == ["succeeded"] * 5
