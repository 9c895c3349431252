"""The runs that this agent holds, kept by a thread while another one trains.

The thread sends heartbeats three times a lease, learns from their answers which runs are lost, and reports trajectory
points of runs that take long enough for someone to watch.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from proxy_training.background import BackgroundThread
from proxy_training.errors import ProxyError, Refused, Unreachable
from proxy_training.registration import Registration
from proxy_training.service_client import HeldRun, ReportedPoint, ServiceClient
from proxy_training.spec import TrajectoryPoint

_HEARTBEATS_A_LEASE = 3
# Points of a run that ends sooner than this travel with its result only.
_REPORT_EVERY_SECONDS = 2.0
_POINTS_A_CALL = 64

log = logging.getLogger(__name__)


@dataclass
class _Held:
    attempt: int
    progress_tokens: int = 0
    ended: bool = False  # its report waits to be delivered, or is on its way


class Leases(BackgroundThread):
    """A context in which leases are kept alive."""

    def __init__(self, client: ServiceClient, registration: Registration, lease_seconds: float) -> None:
        super().__init__("leases")
        self._client = client
        self._registration = registration
        self._lease_seconds = lease_seconds
        self._lock = threading.Lock()
        self._held: dict[str, _Held] = {}
        self._lost: frozenset[str] = frozenset()  # replaced, never changed: the trainer reads it without the lock
        self._points: list[ReportedPoint] = []
        self._away = False  # whether the last call failed; only the first failure of an outage is worth a warning

    def hold(self, run_id: str, attempt: int) -> None:
        """A claimed run is ours from now on."""
        with self._lock:
            self._held[run_id] = _Held(attempt)
            self._lost = self._lost - {run_id}

    def let_go(self, run_id: str) -> None:
        """The run is reported or given back; points that were not sent yet are dropped."""
        with self._lock:
            self._held.pop(run_id, None)
            self._lost = self._lost - {run_id}
            self._points = [point for point in self._points if point.run_id != run_id]

    def ended(self, run_id: str) -> None:
        """The run has its outcome. It is held until that is delivered; the answer to the report says who it is for."""
        with self._lock:
            if run_id in self._held:
                self._held[run_id].ended = True

    def unfinished(self) -> dict[str, int]:
        """The attempt of every run that is held, has no outcome and is not lost."""
        with self._lock:
            return {
                run_id: held.attempt
                for run_id, held in self._held.items()
                if not held.ended and run_id not in self._lost
            }

    def lost(self) -> Collection[str]:
        """The held runs that the service has given to others."""
        return self._lost

    def progressed(self, run_ids: Collection[str], train_tokens: int) -> None:
        """The next heartbeat says how far these runs are."""
        with self._lock:
            for run_id in run_ids:
                if run_id in self._held:
                    self._held[run_id].progress_tokens = train_tokens

    def measured(self, run_id: str, point: TrajectoryPoint) -> None:
        """The point is sent soon, unless the run ends before."""
        with self._lock:
            if run_id in self._held:
                self._points.append(ReportedPoint(run_id=run_id, attempt=self._held[run_id].attempt, point=point))

    def _keep(self) -> None:
        every = self._lease_seconds / _HEARTBEATS_A_LEASE
        beat_at, report_at = time.monotonic() + every, time.monotonic() + _REPORT_EVERY_SECONDS
        while not self._closing.wait(max(min(beat_at, report_at) - time.monotonic(), 0)):
            now = time.monotonic()
            if now >= beat_at:
                beat_at = now + every
                self._beat()
            if now >= report_at:
                report_at = now + _REPORT_EVERY_SECONDS
                self._report_points()

    def _beat(self) -> None:
        with self._lock:
            held = [
                HeldRun(run_id=run_id, attempt=run.attempt, progress_tokens=run.progress_tokens)
                for run_id, run in self._held.items()
                if run_id not in self._lost
            ]
        if not held:
            return
        try:
            agent_id = self._registration.agent_id()
            try:
                self._lose(self._client.heartbeat(agent_id, held, self._lease_seconds))
            except Refused as refusal:
                if refusal.status != HTTPStatus.NOT_FOUND:
                    raise
                self._registration.forgotten(agent_id)
            self._away = False
        except ProxyError as error:  # the next heartbeat may fare better; the training goes on
            log.log(self._level(), "No heartbeat: %s", error, extra={"event": "heartbeat_failed"})

    def _report_points(self) -> None:
        with self._lock:
            points = [point for point in self._points if point.run_id not in self._lost]
            self._points = []
        for start in range(0, len(points), _POINTS_A_CALL):
            try:
                self._report(points[start : start + _POINTS_A_CALL])
            except Unreachable as error:
                log.log(self._level(), "Measurements wait: %s", error, extra={"event": "measurement_failed"})
                with self._lock:
                    self._points = points[start:] + self._points
                return

    def _report(self, points: Sequence[ReportedPoint]) -> None:
        """Send points in one call, and those of a call that is refused one by one, so that the wrong one is named.

        Raises:
            Unreachable: the service is not there; the same points may be sent again.
        """
        try:
            self._lose(self._client.measure(points))
        except Unreachable:
            raise
        except ProxyError as error:
            if isinstance(error, Refused) and len(points) > 1:
                for point in points:
                    self._report([point])
                return
            log.warning(
                "Measurements were refused: %s",
                error,
                extra={"event": "measurement_refused", "run_ids": sorted({point.run_id for point in points})},
            )

    def _level(self) -> int:
        level = logging.DEBUG if self._away else logging.WARNING
        self._away = True
        return level

    def _lose(self, run_ids: Collection[str]) -> None:
        with self._lock:
            held = [run_id for run_id in run_ids if run_id in self._held]
            # A run whose report is taken is held no more; that is no loss, whoever has delivered it.
            reported = {run_id for run_id in held if self._held[run_id].ended}
            for run_id in reported:
                del self._held[run_id]
            lost = set(held) - reported
            self._lost = self._lost | lost
        for run_id in lost:
            log.warning(
                "Run %s is ours no more: pruned, cancelled or given to another agent",
                run_id,
                extra={"event": "run_lost", "run_id": run_id},
            )
