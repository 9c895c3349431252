"""The life of runs against a small model: whatever agents, users and the clock do in whatever order, over HTTP.

MIXWRIGHT_LONG_TESTS=1 makes it look much longer.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from app.settings import ENV_PREFIX
from tests.app.conftest import StandingClock
from tests.app.study_bodies import SETTINGS, claim, create_study, queue_runs, register, result

LONG = bool(os.environ.get(f"{ENV_PREFIX}LONG_TESTS"))
MAX_ATTEMPTS = 5
LEASE_SECONDS = 30.0
RUN_FLOPS = 6 * 26_784 * 4096
ENDED = ("succeeded", "failed", "cancelled", "pruned", "stale")


@dataclass
class Life:
    """What the model knows of a run. ``reports`` are the attempts whose agent may still say something."""

    state: str = "queued"
    attempt: int = 0
    max_attempts: int = MAX_ATTEMPTS
    agent: int | None = None
    expires: float = 0.0
    loss: float | None = None
    counted: bool = False  # whether the present attempt has a result
    outcomes: list[str | None] = field(default_factory=list)

    def end(self, state: str, outcome: str) -> None:
        self.state, self.outcomes[-1] = state, outcome

    def requeue(self, outcome: str, last: str) -> None:
        self.end("queued" if self.attempt < self.max_attempts else last, outcome)


class RunLife(RuleBasedStateMachine):
    """Two agents, one user and the clock; agents also report on attempts that they lost long ago."""

    api: TestClient
    clock: StandingClock

    @initialize(count=st.integers(1, 5))
    def queue(self, count: int) -> None:
        self.study = create_study(self.api)
        self.agents = [register(self.api) for _ in range(2)]
        # The queue is one for all studies: what an earlier example left must not be claimed by this one.
        self.corpus = self.study
        runs = queue_runs(self.api, self.study, count, settings=SETTINGS | {"corpus_hash": self.corpus})
        self.lives = {run["id"]: Life() for run in runs}
        self.now = 0.0
        self.spent = 0.0

    def _pick(self, data: st.DataObject) -> tuple[str, Life, int]:
        """A run and one of its attempts, mostly the last."""
        run = data.draw(st.sampled_from(sorted(self.lives)))
        life = self.lives[run]
        last = max(life.attempt, 1)
        return run, life, data.draw(st.one_of(st.just(last), st.integers(1, last + 1)))

    def _holds(self, life: Life, attempt: int) -> bool:
        return life.state == "leased" and life.attempt == attempt

    def _post(self, path: str, **body: Any) -> Any:
        return self.api.post(f"/v1/{path}", json=body)

    def _expire(self) -> None:
        """What every claim does first."""
        for life in self.lives.values():
            if life.state == "leased" and life.expires < self.now:
                life.requeue("stale", "stale")

    @rule(agent=st.integers(0, 1), count=st.integers(1, 4))
    def claim(self, agent: int, count: int) -> None:
        self._expire()
        waiting = [run for run, life in sorted(self.lives.items()) if life.state == "queued"]
        claimed = claim(self.api, self.agents[agent], count, lease_seconds=LEASE_SECONDS, corpus_hashes=[self.corpus])
        assert [run["run_id"] for run in claimed] == waiting[:count]
        for run in claimed:
            life = self.lives[run["run_id"]]
            life.state, life.attempt, life.agent = "leased", life.attempt + 1, agent
            life.expires, life.counted = self.now + LEASE_SECONDS, False
            life.outcomes.append(None)
            assert run["attempt"] == life.attempt

    @rule(seconds=st.sampled_from([1.0, 10.0, 29.0, 31.0, 500.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.now += seconds

    @rule(agent=st.integers(0, 1), stale=st.booleans())
    def heartbeat(self, agent: int, stale: bool) -> None:
        held = {run: max(life.attempt - stale, 1) for run, life in self.lives.items() if life.attempt}
        body = {"runs": [{"run_id": run, "attempt": attempt} for run, attempt in held.items()]}
        answer = self._post(f"agents/{self.agents[agent]}/heartbeat", lease_seconds=LEASE_SECONDS, **body)
        lost = set(answer.json()["lost"])
        for run, attempt in held.items():
            life = self.lives[run]
            kept = self._holds(life, attempt) and life.agent == agent
            assert (run not in lost) == kept
            if kept:
                life.expires = self.now + LEASE_SECONDS

    @rule(data=st.data(), loss=st.floats(0.5, 5.0), together=st.booleans())
    def complete(self, data: st.DataObject, loss: float, together: bool) -> None:
        run, life, attempt = self._pick(data)
        if together:
            results = [{"run_id": run, "attempt": attempt, "result": result(code=loss)}] * 2
            taken = self._post("runs/complete", results=results).json() == {"lost": []}
        else:
            taken = self._post(f"runs/{run}/complete", attempt=attempt, result=result(code=loss)).status_code == 204
        repeated = life.counted and life.attempt == attempt
        assert taken == (repeated or self._holds(life, attempt))
        if taken and not repeated:
            life.end("succeeded", "succeeded")
            life.loss, life.counted = loss, True
            self.spent += RUN_FLOPS

    @rule(data=st.data())
    def diverge(self, data: st.DataObject) -> None:
        run, life, attempt = self._pick(data)
        report = {"status": "diverged", "train_tokens": 2048}
        status = self._post(f"runs/{run}/complete", attempt=attempt, result=report).status_code
        repeated = life.counted and life.attempt == attempt
        assert (status == 204) == (repeated or self._holds(life, attempt))
        if status == 204 and not repeated:
            life.end("failed", "failed")
            life.counted = True
            self.spent += RUN_FLOPS / 2

    @rule(data=st.data(), retry=st.booleans())
    def fail(self, data: st.DataObject, retry: bool) -> None:
        run, life, attempt = self._pick(data)
        status = self._post(f"runs/{run}/fail", attempt=attempt, reason="broke", retry=retry).status_code
        assert (status == 204) == self._holds(life, attempt)
        if status == 204:
            if retry:
                life.requeue("failed", "failed")
            else:
                life.end("failed", "failed")

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        run, life, attempt = self._pick(data)
        status = self._post(f"runs/{run}/release", attempt=attempt).status_code
        assert (status == 204) == self._holds(life, attempt)
        if status == 204:
            life.max_attempts += 1
            life.end("queued", "preempted")

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        run, life, _ = self._pick(data)
        status = self.api.post(f"/v1/runs/{run}/cancel").status_code
        assert (status == 200) == (life.state in ("queued", "leased", "cancelled"))
        if life.state == "leased":
            life.end("cancelled", "cancelled")
        elif status == 200:
            life.state = "cancelled"

    @rule(data=st.data())
    def prune(self, data: st.DataObject) -> None:
        run, life, _ = self._pick(data)
        status = self.api.post(f"/v1/runs/{run}/prune").status_code
        assert (status == 200) == (life.state in ("leased", "pruned"))
        if life.state == "leased":
            life.end("pruned", "pruned")

    @precondition(lambda self: any(life.state in ENDED for life in self.lives.values()))
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        run, life, _ = self._pick(data)
        status = self.api.post(f"/v1/runs/{run}/retry").status_code
        assert (status == 200) == (life.state in ENDED and life.state != "succeeded")
        if status == 200:
            life.state, life.max_attempts = "queued", life.attempt + MAX_ATTEMPTS
            life.loss, life.counted = None, False

    @rule()
    def cancel_what_waits(self) -> None:
        answer = self._post(f"studies/{self.study}/runs/cancel").json()
        waiting = [life for life in self.lives.values() if life.state == "queued"]
        assert answer == {"cancelled": len(waiting)}
        for life in waiting:
            life.state = "cancelled"

    @invariant()
    def the_service_agrees_with_the_model(self) -> None:
        if not hasattr(self, "lives"):
            return
        for run in self.api.get(f"/v1/studies/{self.study}/runs").json()["items"]:
            life = self.lives[run["id"]]
            loss = None if run["losses"] is None else run["losses"]["code"]["value"]
            told = (run["state"], run["attempt"], run["max_attempts"], loss)
            assert told == (life.state, life.attempt, life.max_attempts, life.loss)
            assert (run["lease_expires_at"] is None) == (life.state != "leased")

    def teardown(self) -> None:
        if not hasattr(self, "lives"):
            return
        for run, life in self.lives.items():
            told = self.api.get(f"/v1/runs/{run}/attempts", params={"limit": 1000}).json()["items"]
            assert [one["outcome"] for one in told] == life.outcomes
        assert self.api.get(f"/v1/studies/{self.study}").json()["budget"]["spent_flops"] == pytest.approx(self.spent)


@pytest.mark.usefixtures("api")
def test_no_order_of_calls_breaks_the_life_of_a_run(api: TestClient, clock: StandingClock) -> None:
    machine = type("RunLifeHere", (RunLife,), {"api": api, "clock": clock})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=400 if LONG else 12,
            stateful_step_count=60 if LONG else 25,
            derandomize=not LONG,
            suppress_health_check=list(HealthCheck),
        ),
    )
