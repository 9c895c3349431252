"""The Python client speaks every route, and turns refusals into exceptions with their sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import httpx
import pytest
from fastapi.testclient import TestClient

from app.client import Client, ClientError, Conflict, JobFailed, NotFound, Refused, Unreachable
from app.principal import Scope
from app.schemas.agents import (
    AgentCreate,
    AgentUpdate,
    ClaimCreate,
    CompletionBatchCreate,
    CompletionCreate,
    FailureCreate,
    HeartbeatCreate,
    HeldRun,
    MeasurementBatchCreate,
    MeasurementCreate,
    ReleaseCreate,
    ReportedPoint,
    ReportedResult,
)
from app.schemas.bindings import BindingPut
from app.schemas.events import EventQuery
from app.schemas.fits import FitCreate, PredictionCreate
from app.schemas.imports import ImportSettings, StudyImport
from app.schemas.jobs import JobState
from app.schemas.keys import KeyCreate, KeyUpdate
from app.schemas.recommendations import RecommendationCreate, VerificationCreate
from app.schemas.runs import Loss, LossPoint, RunCreate, RunFilter, RunState, RunUpdate, SuggestionCreate
from app.schemas.schedules import ScheduleCreate, SchedulePatch
from app.schemas.studies import DomainIn, DomainSetCreate, StudyCreate, StudyPatch, StudyRead, TargetIn
from app.schemas.targets import TargetPatch
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
    client.create_runs(study_id, [RunCreate(weights={"a": 1.0}, settings=SETTINGS, seed=seed) for seed in range(4)])
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
    assert client.get_trajectory(done.run_id).points == [LossPoint(train_tokens=2048, losses={"a": Loss(value=2.0)})]
    states = {run.id: run.state for run in client.all_runs(study_id, purpose="swarm") if run.source == "proxy"}
    expected = [RunState.SUCCEEDED, RunState.FAILED, RunState.QUEUED, RunState.CANCELLED]
    assert [states[run.run_id] for run in (done, failed, released, cancelled)] == expected


def _change_domains(client: Client, study: StudyRead) -> None:
    version = client.get_domain_set(study.domain_set.id)
    assert client.list_domain_sets(study.id).items == [version]
    same = DomainSetCreate(domains=study.domain_set.domains)
    assert client.create_domain_set(study.id, same).id == version.id
    paths = {"a": ["/data/a"], "b": ["/data/b"]}
    bound = client.put_binding(version.id, "megatron", BindingPut(paths=paths))
    assert client.put_binding(version.id, "megatron", BindingPut(paths=paths, options={"split": "train"})) != bound
    assert client.list_bindings(version.id).items == [client.get_binding(version.id, "megatron")]


def _change_targets(client: Client) -> None:
    study_id, name = client.create_study(_study().model_copy(update={"name": "more"})).id, "eval/loss? #1"
    added = client.add_target(study_id, TargetIn(name=name, weight=0))
    assert client.get_target(study_id, name) == added
    assert client.change_target(study_id, name, TargetPatch(weight=0.5)).weight == 0.5
    assert len(client.list_targets(study_id).items) == 3


def _change_runs(client: Client, study: StudyRead) -> None:
    spare = [RunCreate(weights={"a": 1.0}, settings=SETTINGS, purpose="spare")]
    assert len(client.create_runs(study.id, spare).skipped) == 1
    (run,) = client.create_runs(study.id, spare, repeat=True).runs
    assert client.change_run(run.id, RunUpdate(label="spare")).label == "spare"
    assert client.cancel_runs(study.id, RunFilter(purpose="spare")).cancelled == 1
    assert client.retry_run(run.id).state is RunState.QUEUED
    (agent,) = client.list_agents().items
    assert client.change_agent(agent.id, AgentUpdate(draining=False)).draining is False
    assert client.get_agent(agent.id).id == agent.id
    claim = ClaimCreate(agent_id=agent.id, max_runs=4, corpus_hashes=["corpus-a"])
    held = {each.run_id: each.attempt for each in client.claim(claim).runs}
    assert client.prune_run(run.id).state is RunState.PRUNED
    assert [each.outcome for each in client.list_attempts(run.id).items] == ["pruned"]
    result = ProxyResult(status="succeeded", train_tokens=4096, losses={"a": Measured(value=1.0)})
    late = ReportedResult(run_id=run.id, attempt=held[run.id], result=result)
    assert client.complete_many(CompletionBatchCreate(results=[late])).lost == [run.id]
    point = TrajectoryPoint(train_tokens=2048, losses={"a": Measured(value=2.0)})
    points = [ReportedPoint(run_id=each, attempt=attempt, point=point) for each, attempt in held.items()]
    assert client.measure_many(MeasurementBatchCreate(points=points)).lost == [run.id]


def _import(client: Client, study: StudyRead, folder: Path) -> None:
    assert "swarm-folder" in [one.name for one in client.list_import_formats().items]
    table = folder / "runs.csv"
    table.write_text("run_id,w:a,w:b,loss:a,loss:b\nx1,0.5,0.5,1.5,1.25\n")
    settings = ImportSettings(format="swarm-folder")
    report = client.import_runs(study.id, settings, [table])
    assert report.taken == 1
    assert report.id is not None
    assert client.get_import(report.id) == report
    assert client.list_imports(study.id).items == [report]
    made = client.import_study(StudyImport(format="swarm-folder", name="imported"), [table])
    assert made.study_id is not None
    assert client.get_study(made.study_id).name == "imported"


def _plan(client: Client, study: StudyRead) -> None:
    made = client.create_schedule(study.id, ScheduleCreate(name="nightly", kind="refit", cron="0 2 * * *"))
    assert client.list_schedules(study.id).items == [client.get_schedule(made.id)]
    assert client.change_schedule(made.id, SchedulePatch(enabled=False)).enabled is False
    fired = client.fire_schedule(made.id)
    assert [each.id for each in client.list_firings(made.id).items] == [fired.id]
    client.delete_schedule(made.id)
    with pytest.raises(NotFound):
        client.get_schedule(made.id)


def _use_keys(client: Client) -> None:
    made = client.create_key(KeyCreate(name="pipeline", scopes=[Scope.READ]))
    assert made.key is not None
    assert client.get_key(made.id) in client.list_keys().items
    assert client.change_key(made.id, KeyUpdate(name="renamed")).name == "renamed"
    assert client.revoke_key(made.id).revoked_at is not None


def _listen(client: Client, transport: InProcess, study: StudyRead) -> None:
    """The streams of events never end, so another transport plays the service here."""
    newest = client.list_events(EventQuery(limit=1), study.id).items[0]
    assert client.list_events().items[-1].kind

    def play(request: httpx.Request) -> httpx.Response:
        transport.called.add((request.method, request.url.path))
        return httpx.Response(200, text=f"id: {newest.key}\ndata: {newest.model_dump_json()}\n\n")

    listener = Client("http://127.0.0.1:1", transport=httpx.MockTransport(play))
    assert next(listener.events()) == next(listener.events(study.id, after="0-0")) == newest


def test_the_client_speaks_every_route(
    client: Client, transport: InProcess, api: TestClient, settings: Settings, clock: Callable, tmp_path: Path
) -> None:
    assert client.is_ready()
    study = client.create_study(_study())
    assert client.get_study(study.id) == study
    assert client.list_studies(name="CLI").items == [study]
    assert client.change_study(study.id, StudyPatch(description="all of it")).description == "all of it"
    assert len(client.suggest(study.id, SuggestionCreate(count=3)).suggestions) == 3
    runs = client.create_runs(study.id, _measured(12)).runs
    assert client.get_run(runs[0].id) == runs[0]
    _change_domains(client, study)
    _change_targets(client)
    _play_agent(client, study.id)
    _change_runs(client, study)
    _import(client, study, tmp_path)

    fit = client.create_fit(study.id, FitCreate(laws=["mean", "regmix_linear"], folds=3))
    _work(settings, clock)
    seen: list[float] = []
    done = client.wait_for_fit(fit.id, on_progress=seen.append)
    assert (done.state, seen) == (JobState.SUCCEEDED, [1.0])
    assert [progress.state for progress in client.watch_fit(fit.id)] == [JobState.SUCCEEDED]
    assert client.list_fits(study.id, state=JobState.SUCCEEDED).items == [done]
    assert client.compare_laws(fit.id).chosen_law == done.chosen_law
    assert len(client.get_out_of_fold(fit.id, law="mean", target="a").points) == 12 + 1 + 1
    assert len(client.predict(fit.id, PredictionCreate(weights=[{"a": 1.0}])).predictions) == 1
    assert client.cancel_fit(client.create_fit(study.id).id).state is JobState.CANCELLED

    wanted = client.create_recommendation(study.id, RecommendationCreate(fit_id=fit.id))
    _work(settings, clock)
    recommended = client.wait_for_recommendation(wanted.id)
    assert [progress.state for progress in client.watch_recommendation(wanted.id)] == [JobState.SUCCEEDED]
    assert [each.id for each in client.list_recommendations(study.id).items] == [recommended.id]
    assert client.diff(wanted.id, "prior").against == "prior"
    other = client.create_recommendation(study.id, RecommendationCreate(fit_id=fit.id))
    assert client.cancel_recommendation(other.id).state is JobState.CANCELLED
    assert client.adopt(wanted.id) == client.get_weights(study.id)
    created = client.create_verification(wanted.id, VerificationCreate(settings=SETTINGS, seeds=[1, 2]))
    assert len(created.runs) == 6
    assert [arm.seeds_asked for arm in client.get_verification(wanted.id).arms] == [2, 2, 2]

    assert "json" in [one.name for one in client.list_export_formats().items]
    exported = client.export(wanted.id, "json", {"target_tokens": 10**9})
    saved = client.download_export(wanted.id, "json", {"target_tokens": 10**9})
    assert (saved.filename, saved.content.decode()) == (exported.files[0].name, exported.files[0].text)
    client.delete_binding(study.domain_set.id, "megatron")
    _plan(client, study)
    _use_keys(client)
    _listen(client, transport, study)

    uncalled = _documented(api) - {(method, _template(path)) for method, path in transport.called}
    assert uncalled <= {("GET", "/healthz"), ("GET", "/metrics")}  # for load balancers and monitoring


def _template(path: str) -> str:
    path = re.sub(r"[0-9a-f-]{36}", "{}", path)
    path = re.sub(r"(/bindings|/targets|/exports)/.+", r"\1/{}", path)
    return path


def _documented(api: TestClient) -> set[tuple[str, str]]:
    """Every documented route but what the dashboard draws, which is made of the other answers."""
    return {
        (method.upper(), re.sub(r"{\w+}", "{}", path))
        for path, methods in api.get("/v1/openapi.json").json()["paths"].items()
        for method in methods
        if not path.startswith("/v1/charts/")
    }


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


def test_only_what_was_given_is_sent() -> None:
    """A service of an earlier version refuses fields that it does not know."""
    sent: list[bytes] = []

    class Noting(Flaky):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            sent.append(request.read())
            return httpx.Response(404)

    with pytest.raises(NotFound):
        Client("http://127.0.0.1:1", transport=Noting(0)).create_study(_study())
    assert json.loads(sent[0]) == {
        "name": "client",
        "domains": [{"name": "a"}, {"name": "b"}],
        "targets": [{"name": "a"}, {"name": "b"}],
    }
