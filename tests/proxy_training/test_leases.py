"""The points of a stack travel in one call; what goes wrong with one of them costs the others nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from proxy_training import leases as leases_module
from proxy_training.leases import Leases
from proxy_training.registration import Registration
from proxy_training.service_client import ServiceClient
from proxy_training.spec import Measured, TrajectoryPoint
from tests.proxy_training.fake_service import FakeService
from tests.proxy_training.training_cases import made_up_run
from tests.waiting import soon


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases_module, "_REPORT_EVERY_SECONDS", 0.02)


@pytest.fixture
def service() -> Iterator[FakeService]:
    fake = FakeService([made_up_run(seed) for seed in range(40)])
    fake.start()
    yield fake
    fake.stop()


@pytest.fixture
def leases(service: FakeService) -> Iterator[Leases]:
    """Leases of all runs; whatever is measured before they are entered is sent together."""
    with ServiceClient(service.url) as client:
        registration = Registration(client, "agent", "host", "device")
        leases = Leases(client, registration, 30.0)
        for run in client.claim(registration.agent_id(), 40, ["corpus"], 30):
            leases.hold(run.run_id, run.attempt)
        yield leases


def measure(leases: Leases, service: FakeService, *tokens: int) -> None:
    """Measure every run after so many tokens."""
    for at in tokens:
        for run_id in service.runs:
            leases.measured(run_id, TrajectoryPoint(train_tokens=at, losses={"a": Measured(value=2.0)}))


def points_of(service: FakeService) -> list[list[int]]:
    return [run.points for run in service.runs.values()]


def test_the_points_of_a_stack_go_in_calls_of_64(service: FakeService, leases: Leases) -> None:
    measure(leases, service, 32, 64)
    with leases:
        assert soon(lambda: points_of(service) == [[32, 64]] * 40)
    assert [len(call["points"]) for call in service.calls_of("measurements")] == [64, 16]


def test_a_run_that_its_point_finds_lost_is_unwanted_and_sends_no_more(service: FakeService, leases: Leases) -> None:
    lost = list(service.runs)[3]
    service.take_away(lost)
    measure(leases, service, 32)
    with leases:
        assert soon(lambda: lost in leases.lost())
        measure(leases, service, 64)
        others = [run for run_id, run in service.runs.items() if run_id != lost]
        assert soon(lambda: all(run.points == [32, 64] for run in others))
    assert set(leases.lost()) == {lost}
    assert sum(point["run_id"] == lost for call in service.calls_of("measurements") for point in call["points"]) == 1


def test_points_of_a_refused_call_go_one_by_one_and_the_wrong_one_is_named(
    service: FakeService, leases: Leases, caplog: pytest.LogCaptureFixture
) -> None:
    service.answer_next["measurements"] = [422, 422]  # the whole, and its first point
    measure(leases, service, 32)
    with leases:
        assert soon(lambda: points_of(service)[1:] == [[32]] * 39)
    assert points_of(service)[0] == []
    (told,) = (record for record in caplog.records if getattr(record, "event", "") == "measurement_refused")
    assert vars(told)["run_ids"] == [next(iter(service.runs))]


def test_points_wait_in_their_order_while_the_service_is_away(service: FakeService, leases: Leases) -> None:
    service.answer_next["measurements"] = [503, 422, 503]  # the last one comes while points go one by one
    measure(leases, service, 32, 64)
    with leases:
        assert soon(lambda: points_of(service) == [[32, 64]] * 40)
