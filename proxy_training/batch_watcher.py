"""What an engine says of a batch becomes heartbeats and reports."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

from proxy_training.leases import Leases
from proxy_training.service_client import ClaimedRun
from proxy_training.spec import ProxyResult, TrajectoryPoint
from proxy_training.spool import Report, Spool
from proxy_training.stopping import StopRequest
from proxy_training.work import Failure, Outcome

log = logging.getLogger(__name__)


class BatchWatcher:
    """The watcher of one batch of an agent, called from the threads of its engine."""

    def __init__(
        self, runs: Sequence[ClaimedRun], server: str, spool: Spool, leases: Leases, stop: StopRequest
    ) -> None:
        self._attempts = {run.run_id: run.attempt for run in runs}
        self._server = server
        self._spool = spool
        self._leases = leases
        self._stop = stop
        self._ended: set[str] = set()

    def stopping(self) -> bool:
        return self._stop.asked

    def unwanted(self) -> Collection[str]:
        return self._leases.lost()

    def progressed(self, run_ids: Collection[str], train_tokens: int) -> None:
        self._leases.progressed(run_ids, train_tokens)

    def measured(self, run_id: str, point: TrajectoryPoint) -> None:
        self._leases.measured(run_id, point)

    def ended(self, run_id: str, outcome: Outcome) -> None:
        self._ended.add(run_id)
        if run_id in self._leases.lost():
            return
        if isinstance(outcome, ProxyResult) and outcome.status == "diverged":
            log.warning("Run %s diverged", run_id, extra={"event": "run_diverged", "run_id": run_id})
        self._spool.add(Report.of(self._server, run_id, self._attempts[run_id], outcome))
        self._leases.ended(run_id)

    def fail_the_rest(self, reason: str) -> None:
        """Runs without an outcome have failed for ``reason``; another attempt may fare better."""
        for run_id in self._attempts.keys() - self._ended:
            self.ended(run_id, Failure(reason, retry=True))
