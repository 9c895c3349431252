"""The Python client speaks every route, and turns refusals into exceptions with their sentence."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ClassVar

import httpx
import pytest
from fastapi.testclient import TestClient

from app.client import Client, ClientError, Conflict, JobFailed, NotFound, Refused, Unreachable
from app.schemas.agents import (
    AgentCreate,
    ClaimCreate,
    CompletionCreate,
    FailureCreate,
    HeartbeatCreate,
    HeldRun,
    MeasurementCreate,
    ReleaseCreate,
)
from app.schemas.fits import FitCreate, PredictionCreate
from app.schemas.jobs import JobState
from app.schemas.recommendations import RecommendationCreate, VerificationCreate
from app.schemas.runs import RunCreate, RunState, SuggestionCreate
from app.schemas.studies import DomainIn, StudyCreate, TargetIn
from app.settings import Settings
from app.worker import Worker
from proxy_training.spec import Measured, ProxyResult, ProxySettings, TrajectoryPoint
from tests.app.conftest import OWNER_KEY

SETTINGS = ProxySettings(corpus_hash="corpus-a", train_tokens=4096)


class InProcess(httpx.BaseTransport):
    """Carries the client's requests to the application and notes what was called."""

    def __init__(self, api: TestClient) -> None:
        self._api = api
        self.called: set[tuple[str, str]] = set()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.called.add((request.method, request.url.path))
        answer = self._api.request(
            request.method,
            str(request.url.raw_path, "ascii"),
            content=request.read(),
            headers=[(k, v) for k, v in request.headers.items() if k.lower() != "accept-encoding"],
        )
        return httpx.Response(answer.status_code, headers=dict(answer.headers), content=answer.content)


@pytest.fixture
def transport(api: TestClient) -> InProcess:
    return InProcess(api)


@pytest.fixture
def client(transport: InProcess) -> Client:
    return Client("http://127.0.0.1:8321", OWNER_KEY, transport=transport)


def _study() -> StudyCreate:
    return StudyCreate(
        name="client",
        domains=[DomainIn(name="a"), DomainIn(name="b")],
        targets=[TargetIn(name="a"), TargetIn(name="b")],
    )


def _measured(count: int) -> list[RunCreate]:
    shares = [(i + 0.5) / count for i in range(count)]
    return [RunCreate(weights={"a": s, "b": 1 - s}, losses={"a": 2 - s, "b": 1 + s * s}) for s in shares]


def _work(settings: Settings, clock: Callable) -> None:
    with Worker(settings, clock) as worker:
        assert worker.work_once()


def _play_agent(client: Client, study_id) -> None:
    agent = client.register_agent(AgentCreate(name="agent"))
    assert client.list_agents().items == [agent]
    client.create_runs(study_id, [RunCreate(weights={"a": 1.0}, settings=SETTINGS) for _ in range(4)])
    claim = ClaimCreate(agent_id=agent.id, max_runs=4, corpus_hashes=["corpus-a"])
    done, failed, released, cancelled = client.claim(claim).runs
    held = [HeldRun(run_id=run.run_id, attempt=run.attempt) for run in (done, failed, released, cancelled)]
    client.cancel_run(cancelled.run_id)
    assert client.heartbeat(agent.id, HeartbeatCreate(runs=held)).lost == [cancelled.run_id]
    point = TrajectoryPoint(train_tokens=2048, losses={"a": Measured(value=2.0)})
    client.measure(done.run_id, MeasurementCreate(attempt=1, point=point))
    result = ProxyResult(status="succeeded", train_tokens=4096, losses={"a": Measured(value=1.0)})
    client.complete(done.run_id, CompletionCreate(attempt=1, result=result))
    client.fail(failed.run_id, FailureCreate(attempt=1, reason="broken", retry=False))
    client.release(released.run_id, ReleaseCreate(attempt=1))
    assert client.get_trajectory(done.run_id).points == [point]
    states = {run.id: run.state for run in client.all_runs(study_id, purpose="swarm") if run.source == "proxy"}
    expected = [RunState.SUCCEEDED, RunState.FAILED, RunState.QUEUED, RunState.CANCELLED]
    assert [states[run.run_id] for run in (done, failed, released, cancelled)] == expected


def test_the_client_speaks_every_route(
    client: Client, transport: InProcess, api: TestClient, settings: Settings, clock: Callable
) -> None:
    assert client.is_ready()
    study = client.create_study(_study())
    assert client.get_study(study.id) == study
    assert client.list_studies().items == [study]
    assert len(client.suggest(study.id, SuggestionCreate(count=3)).suggestions) == 3
    runs = client.create_runs(study.id, _measured(12)).runs
    assert client.get_run(runs[0].id) == runs[0]
    _play_agent(client, study.id)

    fit = client.create_fit(study.id, FitCreate(laws=["mean", "regmix_linear"], folds=3))
    _work(settings, clock)
    seen: list[float] = []
    done = client.wait_for_fit(fit.id, on_progress=seen.append)
    assert (done.state, seen) == (JobState.SUCCEEDED, [1.0])
    assert client.list_fits(study.id).items == [done]
    assert len(client.get_out_of_fold(fit.id, law="mean", target="a").points) == 12 + 1
    assert len(client.predict(fit.id, PredictionCreate(weights=[{"a": 1.0}])).predictions) == 1

    wanted = client.create_recommendation(study.id, RecommendationCreate(fit_id=fit.id))
    _work(settings, clock)
    recommended = client.wait_for_recommendation(wanted.id)
    assert client.list_recommendations(study.id).items == [recommended]
    created = client.create_verification(wanted.id, VerificationCreate(settings=SETTINGS, seeds=[1, 2]))
    assert len(created.runs) == 6
    assert [arm.seeds_asked for arm in client.get_verification(wanted.id).arms] == [2, 2, 2]

    def template(path: str) -> str:
        return re.sub(r"[0-9a-f-]{36}", "{}", path)

    documented = {
        (method.upper(), re.sub(r"{\w+}", "{}", path))
        for path, methods in api.get("/v1/openapi.json").json()["paths"].items()
        for method in methods
        if not path.startswith("/v1/charts/")  # what the dashboard draws, made of the other answers
    }
    assert documented - {(method, template(path)) for method, path in transport.called} == {("GET", "/healthz")}


def test_refusals_are_exceptions_with_their_sentence(client: Client) -> None:
    study = client.create_study(_study())
    with pytest.raises(Conflict, match="has no measured run"):
        client.create_fit(study.id)
    with pytest.raises(NotFound, match=f"there is no fit {study.id}"):
        client.get_fit(study.id)
    with pytest.raises(Refused) as refused:
        client.create_runs(study.id, [RunCreate(weights={"c": 1.0}, settings=SETTINGS)])
    assert refused.value.status == 422
    assert refused.value.problem.errors == [
        {"field": "runs.0.weights.c", "message": "no such domain", "accepted": "a, b"}
    ]


def test_all_runs_walks_every_page(client: Client) -> None:
    study = client.create_study(_study())
    made = client.create_runs(study.id, _measured(2300)).runs
    assert [run.id for run in client.all_runs(study.id)] == [run.id for run in made]


def test_waiting_for_a_failed_fit_tells_why(client: Client, settings: Settings, clock: Callable) -> None:
    study = client.create_study(_study())
    client.create_runs(study.id, _measured(1))
    fit = client.create_fit(study.id)
    with pytest.raises(JobFailed, match="is queued after 0 seconds"):
        client.wait_for_fit(fit.id, seconds=0)
    _work(settings, clock)
    with pytest.raises(JobFailed, match=f"fit {fit.id} failed: all 1 runs have the same mixture"):
        client.wait_for_fit(fit.id)


EMPTY_PAGE = b'{"items": [], "next_cursor": null}'


class Flaky(httpx.BaseTransport):
    """Fails a number of times before it answers."""

    def __init__(self, failures: int, content: bytes = EMPTY_PAGE, status: int = 200) -> None:
        self.left, self.calls = failures, 0
        self._content, self._status = content, status

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise httpx.ConnectError("connection refused", request=request)
        return httpx.Response(self._status, content=self._content)


@pytest.fixture
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.calls.transport._FIRST_PAUSE_SECONDS", 0.0)


@pytest.mark.usefixtures("_no_pauses")
def test_reads_are_repeated() -> None:
    reads = Flaky(failures=3)
    assert Client("http://127.0.0.1:1", transport=reads).list_studies().items == []
    assert reads.calls == 4


class LostAnswers(InProcess):
    """The service does what it is told, but its first answer to each call is lost on the way."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = super().handle_request(request)
        before = len(self.keys)
        self.keys.append(request.headers.get("idempotency-key", ""))
        if before % 2 == 0:
            raise httpx.ReadError("connection reset", request=request)
        return answer

    keys: ClassVar[list[str]] = []


@pytest.mark.usefixtures("_no_pauses")
def test_a_post_whose_answer_was_lost_is_sent_again_and_counts_once(api: TestClient) -> None:
    lossy = LostAnswers(api)
    lossy.keys.clear()
    study = Client("http://127.0.0.1:1", OWNER_KEY, transport=lossy).create_study(_study())
    assert len(lossy.keys) == 2
    assert lossy.keys[0] == lossy.keys[1] != ""
    found = api.get("/v1/studies").json()["items"]
    assert [each["id"] for each in found] == [str(study.id)]


@pytest.mark.usefixtures("_no_pauses")
def test_every_call_has_a_key_of_its_own(api: TestClient) -> None:
    client = Client("http://127.0.0.1:1", OWNER_KEY, transport=InProcess(api))
    assert client.create_study(_study()).id != client.create_study(_study()).id


@pytest.mark.usefixtures("_no_pauses")
def test_reads_give_up_in_the_end() -> None:
    with pytest.raises(Unreachable):
        Client("http://127.0.0.1:1", transport=Flaky(failures=100), retries=2).list_studies()


@pytest.mark.usefixtures("_no_pauses")
def test_another_program_on_the_port_is_told_apart() -> None:
    with pytest.raises(ClientError, match="something that is not Mixwright's"):
        Client("http://127.0.0.1:1", transport=Flaky(0, b"<html>hello</html>")).list_studies()
    with pytest.raises(Refused, match="answered 503"):
        Client("http://127.0.0.1:1", transport=Flaky(0, b"<html>busy</html>", 503)).list_studies()


def test_the_key_travels_with_every_call() -> None:
    seen: list[str] = []

    class Noting(Flaky):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            seen.append(request.headers["authorization"])
            return super().handle_request(request)

    Client("http://127.0.0.1:1", "secret", transport=Noting(0)).list_studies()
    assert seen == ["Bearer secret"]


def test_the_client_needs_nothing_of_the_server() -> None:
    """Imported in a fresh interpreter in which the server's packages cannot be found."""
    import subprocess
    import sys

    code = (
        "import sys\n"
        "for name in ('fastapi', 'starlette', 'uvicorn', 'sqlalchemy', 'alembic', 'pydantic_settings', 'torch'):\n"
        "    sys.modules[name] = None\n"
        "import app.client\n"
        "assert 'numpy' not in sys.modules, 'the client should start fast'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
