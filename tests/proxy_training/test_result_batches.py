"""The results of a stack travel in one call; what goes wrong with one of them costs the others nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy_training.agent import Agent, AgentOptions
from proxy_training.engines.base import Engine, EngineOptions
from proxy_training.errors import Unreachable
from proxy_training.registration import Registration
from proxy_training.service_client import ServiceClient
from proxy_training.spec import Measured, Processor, ProxyResult, ProxySettings
from proxy_training.spool import Report, Spool
from proxy_training.stopping import StopRequest
from proxy_training.work import Assignment, Watcher
from tests.proxy_training.fake_service import FakeService
from tests.proxy_training.text_corpora import names_in
from tests.proxy_training.training_cases import STEP_TOKENS, made_up_run

RESULT = ProxyResult(status="succeeded", train_tokens=STEP_TOKENS, losses={"a": Measured(value=2.0)})


class InstantEngine(Engine):
    """Gives every run its result at once."""

    name = "instant"
    summary = "for tests"

    @property
    def device(self) -> str:
        return "none"

    @property
    def processor(self) -> Processor:
        return "cpu"

    def preferred_stack(self, settings: ProxySettings) -> int:
        del settings
        return 4

    def train(self, assignments: list[Assignment], corpus_folder: Path | None, watcher: Watcher) -> None:
        del corpus_folder
        for assignment in assignments:
            watcher.ended(assignment.run_id, RESULT)


@pytest.fixture
def service() -> Iterator[FakeService]:
    fake = FakeService([made_up_run(seed) for seed in range(4)])
    fake.start()
    yield fake
    fake.stop()


@pytest.fixture
def client(service: FakeService) -> Iterator[ServiceClient]:
    with ServiceClient(service.url) as client:
        yield client


def run_agent(client: ServiceClient, spool: Path) -> None:
    registration = Registration(client, "agent", "host", "device")
    options = AgentOptions(exit_when_idle_seconds=0.1)
    Agent(
        client, registration, InstantEngine(EngineOptions()), {"corpus": spool}, Spool(spool), options, StopRequest()
    ).run()


def spooled(client: ServiceClient, folder: Path) -> tuple[Spool, list[Report]]:
    """Four results of claimed runs that wait on disk."""
    spool = Spool(folder)
    for run in client.claim(client.register("a", "b", "c"), 4, ["corpus"], 30):
        spool.add(Report.of(client.server, run.run_id, run.attempt, RESULT))
    return spool, list(spool.reports(client.server))


def test_a_stack_is_reported_in_one_call(tmp_path: Path, service: FakeService, client: ServiceClient) -> None:
    run_agent(client, tmp_path)
    assert [run.completions for run in service.runs.values()] == [1, 1, 1, 1]
    assert [len(call["results"]) for call in service.calls_of("complete_many")] == [4]
    assert service.calls_of("complete") == []
    assert names_in(tmp_path) == []


def test_a_late_result_does_not_hold_up_the_others(tmp_path: Path, service: FakeService, client: ServiceClient) -> None:
    spool, reports = spooled(client, tmp_path)
    service.take_away(reports[1].run_id)
    taken = spool.deliver_results(reports, client)
    assert taken == {report.run_id for report in reports} - {reports[1].run_id}
    assert [run.completions for run in service.runs.values()] == [1, 0, 1, 1]
    assert names_in(tmp_path) == []


def test_results_wait_while_the_service_is_away(tmp_path: Path, service: FakeService, client: ServiceClient) -> None:
    spool, reports = spooled(client, tmp_path)
    service.stop()
    with pytest.raises(Unreachable):
        spool.deliver_results(reports, client)
    assert len(names_in(tmp_path)) == 4


def test_a_refused_stack_is_reported_one_by_one_and_only_the_wrong_one_is_set_aside(
    tmp_path: Path, service: FakeService, client: ServiceClient
) -> None:
    service.answer_next |= {"complete_many": [422], "complete": [422]}
    run_agent(client, tmp_path)
    assert sorted(run.completions for run in service.runs.values()) == [0, 1, 1, 1]
    assert [name.rpartition(".")[2] for name in names_in(tmp_path)] == ["refused"]
