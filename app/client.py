"""The Python client of the service, for training pipelines and notebooks. Needs httpx and nothing of the server.

    with Client("http://127.0.0.1:8321") as client:
        study = client.create_study(StudyCreate(...))
        client.create_runs(study.id, [RunCreate(...), ...])
        fit = client.wait_for_fit(client.create_fit(study.id).id)

Every method is one call of the API and returns its typed answer. A refusal becomes a :class:`Refused` with the
sentence of the problem body.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Self, TypeVar
from uuid import UUID

import httpx

from app.client_calls import Calls, ClientError, Conflict, NotFound, Refused, Unreachable
from app.schemas.agents import (
    AgentCreate,
    AgentRead,
    ClaimCreate,
    ClaimRead,
    CompletionCreate,
    FailureCreate,
    HeartbeatCreate,
    HeartbeatRead,
    MeasurementCreate,
    ReleaseCreate,
)
from app.schemas.common import Page
from app.schemas.fits import FitCreate, FitRead, OutOfFoldRead, PredictionCreate, PredictionsRead
from app.schemas.jobs import JobState
from app.schemas.recommendations import RecommendationCreate, RecommendationRead, VerificationCreate, VerificationRead
from app.schemas.runs import (
    RunBatchCreate,
    RunCreate,
    RunRead,
    RunsCreated,
    RunState,
    SuggestionCreate,
    SuggestionsRead,
    TrajectoryRead,
)
from app.schemas.studies import StudyCreate, StudyRead

__all__ = ["Client", "ClientError", "Conflict", "JobFailed", "NotFound", "Refused", "Unreachable"]

Job = TypeVar("Job", FitRead, RecommendationRead)

# The service takes this many runs in one call.
_RUNS_AT_ONCE = 10_000
_ASK_EVERY_SECONDS = 0.2


class JobFailed(ClientError):
    """A fit or recommendation of the service failed, or took too long."""


class Client:
    """One connection pool to one service; safe to share between threads.

    Args:
        url: address of the service, without ``/v1``.
        api_key: sent with every call; not needed for a service on the loopback without a key.
        timeout_seconds: for one call.
        retries: how often a read is repeated when the service cannot be reached. Writes are never repeated: the
            first one may have arrived.
        transport: replaces the network, for tests.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        timeout_seconds: float = 60.0,
        retries: int = 4,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._calls = Calls(url, api_key, timeout_seconds, retries, transport)
        self._get, self._post, self._send = self._calls.get, self._calls.post, self._calls.send

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._calls.close()

    # --- health ---

    def is_ready(self) -> bool:
        """Whether the service answers and can serve; never raises."""
        return self._calls.is_ready()

    def wait_until_ready(self, seconds: float = 30.0) -> None:
        """Wait for a service that is starting.

        Raises:
            Unreachable: it does not answer in time.
        """
        deadline = time.monotonic() + seconds
        while not self.is_ready():
            if time.monotonic() > deadline:
                raise Unreachable(f"no service answers at {self._calls.url} after {seconds:g} seconds")
            time.sleep(0.1)

    # --- studies ---

    def create_study(self, body: StudyCreate) -> StudyRead:
        return self._post("/v1/studies", body, StudyRead)

    def list_studies(self, limit: int = 100, cursor: str | None = None) -> Page[StudyRead]:
        return self._get("/v1/studies", Page[StudyRead], limit=limit, cursor=cursor)

    def get_study(self, study_id: UUID) -> StudyRead:
        return self._get(f"/v1/studies/{study_id}", StudyRead)

    def suggest(self, study_id: UUID, body: SuggestionCreate) -> SuggestionsRead:
        return self._post(f"/v1/studies/{study_id}/suggestions", body, SuggestionsRead)

    # --- runs ---

    def create_runs(self, study_id: UUID, runs: Sequence[RunCreate]) -> RunsCreated:
        """Queue or report any number of runs; more than the service takes at once go in several calls."""
        created, renormalised = [], 0
        for start in range(0, len(runs), _RUNS_AT_ONCE):
            body = RunBatchCreate(runs=list(runs[start : start + _RUNS_AT_ONCE]))
            part = self._post(f"/v1/studies/{study_id}/runs", body, RunsCreated)
            created += part.runs
            renormalised += part.renormalised
        return RunsCreated(runs=created, renormalised=renormalised)

    def list_runs(
        self,
        study_id: UUID,
        state: RunState | None = None,
        purpose: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[RunRead]:
        path = f"/v1/studies/{study_id}/runs"
        return self._get(path, Page[RunRead], state=state, purpose=purpose, limit=limit, cursor=cursor)

    def all_runs(self, study_id: UUID, state: RunState | None = None, purpose: str | None = None) -> Iterator[RunRead]:
        """Every run of a study, page by page."""
        cursor: str | None = None
        while True:
            page = self.list_runs(study_id, state, purpose, limit=1000, cursor=cursor)
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return

    def get_run(self, run_id: UUID) -> RunRead:
        return self._get(f"/v1/runs/{run_id}", RunRead)

    def get_trajectory(self, run_id: UUID) -> TrajectoryRead:
        return self._get(f"/v1/runs/{run_id}/trajectory", TrajectoryRead)

    def cancel_run(self, run_id: UUID) -> RunRead:
        return self._post(f"/v1/runs/{run_id}/cancel", None, RunRead)

    # --- agents ---

    def register_agent(self, body: AgentCreate) -> AgentRead:
        return self._post("/v1/agents", body, AgentRead)

    def list_agents(self, limit: int = 100, cursor: str | None = None) -> Page[AgentRead]:
        return self._get("/v1/agents", Page[AgentRead], limit=limit, cursor=cursor)

    def claim(self, body: ClaimCreate) -> ClaimRead:
        return self._post("/v1/runs/claim", body, ClaimRead)

    def heartbeat(self, agent_id: UUID, body: HeartbeatCreate) -> HeartbeatRead:
        return self._post(f"/v1/agents/{agent_id}/heartbeat", body, HeartbeatRead)

    def measure(self, run_id: UUID, body: MeasurementCreate) -> None:
        self._send(f"/v1/runs/{run_id}/measurements", body)

    def complete(self, run_id: UUID, body: CompletionCreate) -> None:
        self._send(f"/v1/runs/{run_id}/complete", body)

    def fail(self, run_id: UUID, body: FailureCreate) -> None:
        self._send(f"/v1/runs/{run_id}/fail", body)

    def release(self, run_id: UUID, body: ReleaseCreate) -> None:
        self._send(f"/v1/runs/{run_id}/release", body)

    # --- fits ---

    def create_fit(self, study_id: UUID, body: FitCreate | None = None) -> FitRead:
        return self._post(f"/v1/studies/{study_id}/fits", body or FitCreate(), FitRead)

    def list_fits(self, study_id: UUID, limit: int = 100, cursor: str | None = None) -> Page[FitRead]:
        return self._get(f"/v1/studies/{study_id}/fits", Page[FitRead], limit=limit, cursor=cursor)

    def get_fit(self, fit_id: UUID) -> FitRead:
        return self._get(f"/v1/fits/{fit_id}", FitRead)

    def wait_for_fit(
        self, fit_id: UUID, seconds: float = 3600.0, on_progress: Callable[[float], None] | None = None
    ) -> FitRead:
        """The fit, once it has succeeded.

        Raises:
            JobFailed: with the reason; or it took longer than ``seconds``.
        """
        return self._wait(
            "fit", lambda: self.get_fit(fit_id), seconds, lambda fit: (on_progress or _ignore)(fit.progress)
        )

    def get_out_of_fold(self, fit_id: UUID, law: str | None = None, target: str | None = None) -> OutOfFoldRead:
        return self._get(f"/v1/fits/{fit_id}/out-of-fold", OutOfFoldRead, law=law, target=target)

    def predict(self, fit_id: UUID, body: PredictionCreate) -> PredictionsRead:
        return self._post(f"/v1/fits/{fit_id}/predictions", body, PredictionsRead)

    # --- recommendations ---

    def create_recommendation(self, study_id: UUID, body: RecommendationCreate) -> RecommendationRead:
        return self._post(f"/v1/studies/{study_id}/recommendations", body, RecommendationRead)

    def list_recommendations(
        self, study_id: UUID, limit: int = 100, cursor: str | None = None
    ) -> Page[RecommendationRead]:
        path = f"/v1/studies/{study_id}/recommendations"
        return self._get(path, Page[RecommendationRead], limit=limit, cursor=cursor)

    def get_recommendation(self, recommendation_id: UUID) -> RecommendationRead:
        return self._get(f"/v1/recommendations/{recommendation_id}", RecommendationRead)

    def wait_for_recommendation(self, recommendation_id: UUID, seconds: float = 3600.0) -> RecommendationRead:
        """The recommendation, once it has succeeded.

        Raises:
            JobFailed: with the reason; or it took longer than ``seconds``.
        """
        return self._wait("recommendation", lambda: self.get_recommendation(recommendation_id), seconds, _ignore)

    def create_verification(self, recommendation_id: UUID, body: VerificationCreate) -> RunsCreated:
        return self._post(f"/v1/recommendations/{recommendation_id}/verifications", body, RunsCreated)

    def get_verification(self, recommendation_id: UUID) -> VerificationRead:
        return self._get(f"/v1/recommendations/{recommendation_id}/verification", VerificationRead)

    # --- calls ---

    def _wait(self, kind: str, read: Callable[[], Job], seconds: float, on_read: Callable[[Job], None]) -> Job:
        deadline = time.monotonic() + seconds
        while True:
            job = read()
            on_read(job)
            if job.state is JobState.SUCCEEDED:
                return job
            if job.state is JobState.FAILED:
                raise JobFailed(f"{kind} {job.id} failed: {job.error}")
            if time.monotonic() > deadline:
                raise JobFailed(f"{kind} {job.id} is {job.state} after {seconds:g} seconds")
            time.sleep(_ASK_EVERY_SECONDS)


def _ignore(_: object) -> None:
    """Nobody wants to hear of the progress."""
