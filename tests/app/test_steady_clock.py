"""The service's clock counts real seconds, whatever somebody does to the clock of the system."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from fastapi.testclient import TestClient

from app.clock import SteadyClock, utc_now
from app.main import create_app
from app.settings import Settings
from tests.app.conftest import BEARER, LOCAL
from tests.app.study_bodies import claim, create_study, queue_runs, register

START = datetime(2026, 1, 1, tzinfo=UTC)


class Machine:
    """A system clock that can be set, and a count of seconds that cannot."""

    def __init__(self) -> None:
        self.wall, self.seconds = START, 100.0

    def wait(self, seconds: float) -> None:
        self.seconds += seconds
        self.wall += timedelta(seconds=seconds)


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def clock(machine: Machine) -> SteadyClock:
    return SteadyClock(lambda: machine.wall, lambda: machine.seconds)


def test_it_starts_from_the_system_and_counts_its_seconds(machine: Machine, clock: SteadyClock) -> None:
    assert clock() == START
    machine.wait(12.5)
    assert clock() == START + timedelta(seconds=12.5)


@pytest.mark.parametrize("hours", [-1, 1])
def test_setting_the_system_clock_changes_durations_by_one_in_a_hundred(
    machine: Machine, clock: SteadyClock, hours: int
) -> None:
    machine.wait(10)
    before = clock()
    machine.wall += timedelta(hours=hours)
    for _ in range(300):
        machine.wait(0.1)
        clock()
    assert (clock() - before).total_seconds() == pytest.approx(30 * (1 + 0.01 * hours), abs=1e-3)


def test_it_never_goes_back_and_agrees_with_the_system_again_in_time(machine: Machine, clock: SteadyClock) -> None:
    machine.wall -= timedelta(hours=1)
    read = []
    for _ in range(1000):
        machine.wait(400)
        read.append(clock())
    assert all(earlier < later for earlier, later in pairwise(read))
    assert read[-1] == machine.wall


def test_a_count_that_goes_back_is_not_followed(machine: Machine, clock: SteadyClock) -> None:
    machine.wait(5)
    before = clock()
    machine.seconds -= 3
    assert clock() >= before


def test_the_service_reads_the_present() -> None:
    before, read, after = datetime.now(UTC), utc_now(), datetime.now(UTC)
    assert before - timedelta(seconds=1) < read < after + timedelta(seconds=1)


@pytest.mark.parametrize("hours", [-1, 1])
def test_setting_the_system_clock_neither_ends_nor_extends_a_lease(
    settings: Settings, machine: Machine, clock: SteadyClock, hours: int
) -> None:
    with TestClient(create_app(settings, clock), base_url=LOCAL, headers=BEARER) as api:
        queue_runs(api, create_study(api), 1)
        agent, other = register(api), register(api)
        (run,) = claim(api, agent, lease_seconds=30)
        machine.wait(10)
        machine.wall += timedelta(hours=hours)
        beat = {"runs": [{"run_id": run["run_id"], "attempt": 1}], "lease_seconds": 30}
        assert api.post(f"/v1/agents/{agent}/heartbeat", json=beat).json() == {"lost": []}
        machine.wait(29)
        assert claim(api, other) == [], "the agent lives"
        machine.wait(2)
        assert [taken["attempt"] for taken in claim(api, other)] == [2], "its lease ran out"
