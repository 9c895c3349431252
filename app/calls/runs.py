"""Calls: runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from uuid import UUID

from app.calls.transport import Transport
from app.schemas.common import Page
from app.schemas.runs import RunBatchCreate, RunCreate, RunRead, RunsCreated, RunState, TrajectoryRead

# The service takes this many runs in one call.
_RUNS_AT_ONCE = 10_000


class RunCalls(Transport):
    """The calls of this resource; one method a route."""

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
