"""The agent's side of one slot: a worker process that is started when needed, heard, and replaced when it dies."""

from __future__ import annotations

import logging
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from proxy_training.engines.halving import Shortage
from proxy_training.engines.messages import AssignedRun, BatchOver, Ended, Orders, deliver
from proxy_training.engines.slot_messages import TOLD, Batch, Logged, NewOrders, Ready, Told, WorkerSetup, line_of
from proxy_training.errors import ProxyError
from proxy_training.paced_log import PacedLog
from proxy_training.work import Assignment, Failure, Watcher

_LOOK_AT_ORDERS_SECONDS = 0.1
# An end that was asked for may save a stack before.
_END_SECONDS = 30.0
# What is printed may come after the end; a process that the worker left behind may hold the pipe open for ever.
_LAST_WORDS_SECONDS = 1.0
_HINTS = {signal.SIGKILL: " (the machine ran out of memory, or somebody killed it)"}

log = logging.getLogger(__name__)


class WorkerDied(Exception):
    """A worker ended in the middle of its work; says how.

    Args:
        killed: by SIGKILL, as the kernel does when memory runs out.
    """

    def __init__(self, how: str, killed: bool) -> None:
        super().__init__(how)
        self.killed = killed


class Worker:
    """A running worker process.

    Raises:
        ProxyError: it cannot be started, or cannot train on its device.
    """

    def __init__(self, slot: int, setup: WorkerSetup, environment: Mapping[str, str]) -> None:
        self._slot = slot
        self._extra = {"slot": slot}
        self._errors: deque[str] = deque(maxlen=1)
        self._told: queue.SimpleQueue[Told | None] = queue.SimpleQueue()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "proxy_training.engines.slot_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(environment),
                process_group=0,  # Ctrl-C in a terminal is for the agent, which then stops its workers in order
            )
        except OSError as exc:
            raise ProxyError(f"the worker of slot {slot} cannot be started: {exc.strerror or exc}") from exc
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._hear, self._read_errors)]
        for reader in self._readers:
            reader.start()
        self.send(setup)
        self.ready = self._wait_until_ready()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def send(self, instruction: WorkerSetup | Batch | NewOrders) -> None:
        """Tell it something; that a dead worker does not hear it shows when its answer is waited for."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line_of(instruction))
            self._process.stdin.flush()
        except BrokenPipeError:
            return

    def receive(self, wait_seconds: float | None) -> Told | None:
        """What it says next; None when it says nothing for that long.

        Raises:
            WorkerDied: it will not say anything any more.
        """
        try:
            message = self._told.get(timeout=wait_seconds)
        except queue.Empty:
            return None
        if message is None:
            raise self._death()
        return message

    def ask_to_end(self) -> None:
        """Say that nothing more comes."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()

    def end(self) -> None:
        """Let it end in order, or kill it when that takes too long."""
        self.ask_to_end()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self.let_go()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self.let_go()

    def let_go(self) -> None:
        """Close what is left of it once it has ended."""
        self._process.wait()
        for pipe, reader in zip((self._process.stdout, self._process.stderr), self._readers, strict=True):
            reader.join(_LAST_WORDS_SECONDS)
            if pipe is not None and not reader.is_alive():
                pipe.close()
        self.ask_to_end()

    def _wait_until_ready(self) -> Ready:
        try:
            message = self.receive(None)
        except WorkerDied as death:
            self.let_go()
            raise ProxyError(f"the worker of slot {self._slot} did not start: {death}") from None
        if isinstance(message, BatchOver):
            self.end()
            message.raise_error()
        assert isinstance(message, Ready)
        return message

    def _hear(self) -> None:
        assert self._process.stdout is not None
        paced = PacedLog(log, f"Slot {self._slot}", self._extra)
        try:
            for line in self._process.stdout:
                self._take(line, paced)
        finally:  # whatever happens, nobody waits for a word that will not come
            self._told.put(None)

    def _take(self, line: bytes, paced: PacedLog) -> None:
        try:
            message = TOLD.validate_json(line)
        except ValidationError:  # printed while it started, or cut short by its death
            paced.line(line.decode(errors="replace").rstrip())
            return
        if isinstance(message, Logged):
            log.log(message.level, "Slot %d: %s", self._slot, message.message, extra=message.extra | self._extra)
        else:
            self._told.put(message)

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        paced = PacedLog(log, f"Slot {self._slot}", self._extra)
        for line in self._process.stderr:
            text = line.decode(errors="replace").strip()
            if text:
                self._errors.append(text)
                paced.line(text)

    def _death(self) -> WorkerDied:
        code = self._process.wait()
        self._readers[1].join(_LAST_WORDS_SECONDS)
        how = f"exit code {code}"
        if code < 0:
            how = signal.Signals(-code).name + _HINTS.get(signal.Signals(-code), "")
        how += "".join(f"; its last words were: {words}" for words in self._errors)
        return WorkerDied(how, killed=code == -signal.SIGKILL)


class Slot:
    """Trains one batch at a time in a worker of its own.

    Args:
        number: from 1, for people to read.
        environment: of the worker; says which GPU is its own.
    """

    def __init__(self, number: int, setup: WorkerSetup, environment: Mapping[str, str]) -> None:
        self._number = number
        self._setup = setup
        self._environment = environment
        self._worker: Worker | None = None

    def start(self) -> Worker:
        """The worker, which is started unless it runs already.

        Raises:
            ProxyError: it cannot be started, or cannot train on its device.
        """
        if self._worker is not None and not self._worker.is_running:
            self._worker.let_go()
            self._worker = None
        if self._worker is None:
            self._worker = Worker(self._number, self._setup, self._environment)
        return self._worker

    def train(self, assignments: Sequence[Assignment], corpus_folder: Path, watcher: Watcher) -> Shortage | None:
        """Train the batch; runs that a dying worker leaves behind have failed, and may be tried again.

        A worker that was killed is taken for too large: its runs have no outcome then.
        """
        worker = self.start()
        runs = tuple(AssignedRun.of(assignment) for assignment in assignments)
        ended: set[str] = set()
        try:
            worker.send(Batch(corpus_folder=corpus_folder, runs=runs))
            over = _listen(worker, watcher, ended)
        except WorkerDied as death:
            reason = f"the worker of slot {self._number} died: {death}"
            log.error(
                "Slot %d: the worker died: %s",
                self._number,
                death,
                extra={"event": "worker_died", "slot": self._number},
            )
            if death.killed:
                return Shortage(reason, reason)
            if not watcher.stopping():
                for run_id in {run.run_id for run in runs} - ended - set(watcher.unwanted()):
                    watcher.ended(run_id, Failure(reason, retry=True))
            return None
        except BaseException:
            # The watcher broke: nobody is there to hear what the worker still has to say about this batch.
            worker.kill()
            raise
        over.raise_error()
        return None

    def ask_to_end(self) -> None:
        """Tell the worker that nothing more comes."""
        if self._worker is not None:
            self._worker.ask_to_end()

    def end(self) -> None:
        """Let go of the worker."""
        if self._worker is not None:
            self._worker.end()


def _listen(worker: Worker, watcher: Watcher, ended: set[str]) -> BatchOver:
    """Pass on what is said about a batch until it is over; ``ended`` gets the runs that have an outcome.

    Raises:
        WorkerDied: in the middle of it.
    """
    told = Orders()
    while True:
        orders = Orders.of(watcher)
        if orders != told:
            worker.send(NewOrders(orders=orders))
            told = orders
        message = worker.receive(_LOOK_AT_ORDERS_SECONDS)
        if isinstance(message, BatchOver):
            return message
        if isinstance(message, Ended):
            if message.run_id in watcher.unwanted():
                continue  # it was too late to tell the worker
            ended.add(message.run_id)
        if message is not None and not isinstance(message, Ready | Logged):
            deliver(message, watcher)
