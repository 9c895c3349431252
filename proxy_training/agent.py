"""A pull agent: claims batches of runs over HTTP, trains them, reports, and leaves nothing behind.

    register -> ( deliver reports -> claim, while a slot is free -> wait )* -> give back what is not finished

Each slot of the engine is a thread that trains one batch and writes its reports; the main thread alone claims and
delivers. Every outcome is written to the spool before it is sent, so that neither a lost network nor a killed process
loses it.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from proxy_training.backoff import Backoff
from proxy_training.batch_watcher import BatchWatcher
from proxy_training.engines.base import Engine
from proxy_training.errors import CorpusError, ProxyError, Refused, ServiceError, Unreachable
from proxy_training.leases import Leases
from proxy_training.registration import Registration
from proxy_training.service_client import ClaimedRun, ServiceClient
from proxy_training.spec import ProxySettings
from proxy_training.spool import Report, Spool
from proxy_training.stopping import StopRequest
from proxy_training.work import Assignment

# A queue that was empty is asked again soon, then ever less often.
_FIRST_POLL_SECONDS, _LONGEST_POLL_SECONDS = 0.5, 5.0
_FIRST_OUTAGE_SECONDS, _LONGEST_OUTAGE_SECONDS = 0.5, 30.0
# An engine that breaks this often in a row would break every run of the queue.
_BROKEN_BATCHES = 3
# Results that travel in one call; a service takes bodies of some megabytes.
_RESULTS_A_CALL = 64
_MOST_SLOTS = 1024
# What is claimed before any run was seen; what is too much of it is given back.
_FIRST_GUESS = ProxySettings(corpus_hash="any", train_tokens=10**6)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AgentOptions:
    """How an agent behaves.

    Args:
        max_stack: runs to claim at once; by the size of the model when None.
        exit_when_idle_seconds: leave after this long without work; never when None.
    """

    lease_seconds: float = 30.0
    max_stack: int | None = None
    exit_when_idle_seconds: float | None = None


class Agent:
    """One worker of one service.

    Args:
        corpora: the folder of every tokenised corpus at hand, by corpus hash; None where the trainer knows the data
            by that name.
    """

    def __init__(
        self,
        client: ServiceClient,
        registration: Registration,
        engine: Engine,
        corpora: Mapping[str, Path | None],
        spool: Spool,
        options: AgentOptions,
        stop: StopRequest,
    ) -> None:
        self._client = client
        self._registration = registration
        self._engine = engine
        self._corpora = dict(corpora)
        self._spool = spool
        self._options = options
        self._stop = stop
        self._leases = Leases(client, registration, options.lease_seconds)
        self._ask_for = options.max_stack or engine.preferred_stack(_FIRST_GUESS)
        self._at_work: set[Future[None]] = set()
        self._broken_batches = 0
        rng = random.Random()
        self._poll = Backoff(_FIRST_POLL_SECONDS, _LONGEST_POLL_SECONDS, rng)
        self._outage = Backoff(_FIRST_OUTAGE_SECONDS, _LONGEST_OUTAGE_SECONDS, rng)

    def run(self) -> None:
        """Work until told to stop, or idle for long enough.

        Raises:
            ServiceError: the service refuses this agent, or could not be reached for as long as it may be idle.
            CorpusError: a corpus cannot be read any more.
            ProxyError: the engine broke again and again.
        """
        with self._leases, ThreadPoolExecutor(thread_name_prefix="slot", max_workers=_MOST_SLOTS) as slots:
            try:
                self._loop(slots)
            finally:
                # An error of ours must not leave the other slots training for nobody.
                self._stop.ask()
                wait(self._at_work)
                self._leave()

    def _loop(self, slots: ThreadPoolExecutor) -> None:
        idle_since = time.monotonic()
        while not self._stop.asked:
            try:
                self._deliver()
                if len(self._at_work) < min(self._engine.slots, _MOST_SLOTS):
                    runs = self._claim()
                else:
                    runs = []
            except Unreachable as error:
                if not self._at_work and self._idle_too_long(idle_since):
                    raise
                log.warning("Waiting for the service: %s", error, extra={"event": "service_unreachable"})
                self._pause(self._outage.pause_seconds())
                continue
            self._outage.reset()
            if runs:
                self._at_work.add(slots.submit(self._work, runs))
                self._poll.reset()
            elif not self._at_work and self._idle_too_long(idle_since):
                log.info("No work; leaving", extra={"event": "agent_idle"})
                return
            else:
                self._pause(self._poll.pause_seconds())
            if self._at_work:
                idle_since = time.monotonic()

    def _pause(self, seconds: float) -> None:
        """Wait, but no longer than until a batch is over or the request to stop. Batches end by that request, too.

        Raises:
            ProxyError: what broke a batch will break the next one, too.
        """
        if not self._at_work:
            self._stop.wait(seconds)
            return
        done, self._at_work = wait(self._at_work, seconds, FIRST_COMPLETED)
        for batch in done:
            batch.result()

    def _idle_too_long(self, since: float) -> bool:
        limit = self._options.exit_when_idle_seconds
        return limit is not None and time.monotonic() - since >= limit

    def _claim(self) -> list[ClaimedRun]:
        """A batch to train; runs that do not belong into it are given back at once."""
        agent_id = self._registration.agent_id()
        try:
            runs = self._claim_as(agent_id)
        except Refused as refusal:
            if refusal.status != HTTPStatus.NOT_FOUND:
                raise
            # Asked again at once: a service that forgets its agents has not said that it has no work.
            self._registration.forgotten(agent_id)
            runs = self._claim_as(self._registration.agent_id())
        for run in runs:
            self._leases.hold(run.run_id, run.attempt)
        return self._trimmed(runs)

    def _claim_as(self, agent_id: str) -> list[ClaimedRun]:
        return self._client.claim(
            agent_id, self._ask_for, list(self._corpora), self._options.lease_seconds, self._engine.processor
        )

    def _trimmed(self, runs: list[ClaimedRun]) -> list[ClaimedRun]:
        """As many runs as are best trained together; the next claim asks for no more."""
        if not runs or self._options.max_stack is not None:
            return runs
        self._ask_for = self._engine.preferred_stack(runs[0].spec.settings)
        for run in runs[self._ask_for :]:
            self._give_back(run.run_id, run.attempt)
        return runs[: self._ask_for]

    def _work(self, runs: Sequence[ClaimedRun]) -> None:
        """Train a batch, in the thread of a slot.

        Raises:
            ProxyError: what broke this batch will break the next one, too.
        """
        settings = runs[0].spec.settings
        log.info(
            "Training %d runs of %d parameters on %d tokens",
            len(runs),
            settings.model.non_embedding_params,
            settings.train_tokens,
            extra={"event": "batch_started", "run_ids": [run.run_id for run in runs]},
        )
        watcher = BatchWatcher(runs, self._client.server, self._spool, self._leases, self._stop)
        assignments = [Assignment(run.run_id, run.spec) for run in runs]
        try:
            self._engine.train(assignments, self._corpora[settings.corpus_hash], watcher)
        except Exception as error:
            # Whatever it is: the service must hear of it now, not when the leases run out.
            watcher.fail_the_rest(f"{type(error).__name__}: {error}")
            self._judge_break(error)
        else:
            if not self._stop.asked:
                watcher.fail_the_rest("the engine ended without an outcome")
            self._broken_batches = 0
        finally:
            for run_id in {run.run_id for run in runs} & set(self._leases.lost()):
                self._leases.let_go(run_id)

    def _judge_break(self, error: Exception) -> None:
        """Go on after a break that may have been this batch's own, end after one that will come again."""
        self._broken_batches += 1
        log.error("The batch broke", exc_info=error, extra={"event": "batch_broken"})
        if isinstance(error, CorpusError):
            raise error
        if self._broken_batches >= _BROKEN_BATCHES:
            raise ProxyError(
                f"{_BROKEN_BATCHES} batches in a row broke, the last one with {type(error).__name__}: {error}"
            ) from error

    def _deliver(self) -> None:
        """Send every report that waits, those of earlier processes too; the results of a stack in one call."""
        reports = list(self._spool.reports(self._client.server))
        results = [report for report in reports if report.result is not None]
        alone = reports
        if len(results) > 1:
            alone = [report for report in reports if report.result is None]
            for start in range(0, len(results), _RESULTS_A_CALL):
                self._deliver_together(results[start : start + _RESULTS_A_CALL])
        for report in alone:
            self._deliver_one(report)

    def _deliver_together(self, reports: list[Report]) -> None:
        try:
            taken = self._spool.deliver_results(reports, self._client)
        except Refused:  # one by one the service says what is wrong with which
            for report in reports:
                self._deliver_one(report)
            return
        for report in reports:
            self._delivered(report, report.run_id in taken)

    def _deliver_one(self, report: Report) -> None:
        self._delivered(report, self._spool.deliver(report, self._client))

    def _delivered(self, report: Report, taken: bool) -> None:
        self._leases.let_go(report.run_id)
        if taken:
            log.info(
                "Run %s %s",
                report.run_id,
                report.result.status if report.result else f"failed: {report.reason}",
                extra={"event": "run_reported", "run_id": report.run_id},
            )

    def _leave(self) -> None:
        """Give back what is not done and deliver what is; a service that is away gets its runs back by time."""
        try:
            for run_id, attempt in self._leases.unfinished().items():
                self._give_back(run_id, attempt)
            self._deliver()
        except ServiceError as error:
            log.warning("Left without the service: %s", error, extra={"event": "leave_failed"})
        log.info("Stopped", extra={"event": "agent_stopped"})

    def _give_back(self, run_id: str, attempt: int) -> None:
        """Release a lease.

        Raises:
            Unreachable: the service is not there.
        """
        self._leases.let_go(run_id)
        try:
            self._client.release(run_id, attempt)
        except Refused as refusal:  # it was lost already
            log.warning("Run %s: %s", run_id, refusal, extra={"event": "release_refused", "run_id": run_id})
        else:
            log.info("Gave run %s back", run_id, extra={"event": "run_released", "run_id": run_id})
