"""Calls: runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from uuid import UUID

from app.calls.pages import walked
from app.calls.transport import Transport
from app.schemas.common import Page
from app.schemas.runs import (
    AttemptRead,
    RunBatchCreate,
    RunCreate,
    RunFilter,
    RunQuery,
    RunRead,
    RunsCancelled,
    RunsCreated,
    RunState,
    RunUpdate,
    TrajectoryRead,
)

# The service takes this many runs in one call.
_RUNS_AT_ONCE = 10_000


class RunCalls(Transport):
    """The calls of this resource; one method a route."""

    def create_runs(self, study_id: UUID, runs: Sequence[RunCreate], repeat: bool = False) -> RunsCreated:
        """Queue or report any number of runs; more than the service takes at once go in several calls.

        Args:
            repeat: queue also what the study has already, instead of skipping it.
        """
        made = RunsCreated(runs=[], skipped=[], renormalised=0)
        for start in range(0, len(runs), _RUNS_AT_ONCE):
            body = RunBatchCreate(runs=list(runs[start : start + _RUNS_AT_ONCE]), repeat=repeat)
            part = self._post(f"/v1/studies/{study_id}/runs", body, RunsCreated)
            made.runs += part.runs
            made.skipped += [one.model_copy(update={"index": start + one.index}) for one in part.skipped]
            made.renormalised += part.renormalised
        return made

    def list_runs(self, study_id: UUID, query: RunQuery | None = None) -> Page[RunRead]:
        """A page of the runs that are like the query, oldest first."""
        asked = (query or RunQuery()).model_dump(mode="json", exclude_none=True)
        return self._get(f"/v1/studies/{study_id}/runs", Page[RunRead], **asked)

    def find_runs(self, study_id: UUID, query: RunQuery) -> Iterator[RunRead]:
        """Every run that is like the query, page by page."""
        return walked(
            lambda cursor: self.list_runs(study_id, query.model_copy(update={"limit": 1000, "cursor": cursor}))
        )

    def all_runs(self, study_id: UUID, *states: RunState, purpose: str | None = None) -> Iterator[RunRead]:
        """Every run of a study in one of the states, or in any."""
        return self.find_runs(study_id, RunQuery(state=list(states), purpose=purpose))

    def get_run(self, run_id: UUID) -> RunRead:
        return self._get(f"/v1/runs/{run_id}", RunRead)

    def change_run(self, run_id: UUID, body: RunUpdate, etag: str | None = None) -> RunRead:
        """Change the version ``etag``, or the present one."""
        return self._change(f"/v1/runs/{run_id}", body, RunRead, etag)

    def get_trajectory(self, run_id: UUID) -> TrajectoryRead:
        return self._get(f"/v1/runs/{run_id}/trajectory", TrajectoryRead)

    def list_attempts(self, run_id: UUID, limit: int = 100, cursor: str | None = None) -> Page[AttemptRead]:
        return self._get(f"/v1/runs/{run_id}/attempts", Page[AttemptRead], limit=limit, cursor=cursor)

    def cancel_run(self, run_id: UUID) -> RunRead:
        return self._post(f"/v1/runs/{run_id}/cancel", None, RunRead)

    def cancel_runs(self, study_id: UUID, body: RunFilter | None = None) -> RunsCancelled:
        """Take back all queued runs that match; those that agents train go on."""
        return self._post(f"/v1/studies/{study_id}/runs/cancel", body or RunFilter(), RunsCancelled)

    def prune_run(self, run_id: UUID) -> RunRead:
        """Stop a run in training because enough was seen of it."""
        return self._post(f"/v1/runs/{run_id}/prune", None, RunRead)

    def retry_run(self, run_id: UUID) -> RunRead:
        """Queue a run again that failed, went stale, was cancelled or was pruned."""
        return self._post(f"/v1/runs/{run_id}/retry", None, RunRead)
