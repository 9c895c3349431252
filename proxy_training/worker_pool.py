"""The same work in several processes, with its results in the order of the tasks.

A worker has one task at a time, so memory holds at most two tasks and results a worker. Workers are started afresh
(spawned): a copy of this process could hold locks of threads that it does not have. They leave Ctrl-C to this process,
from their first instruction on, and end when it does, even when it is killed: then their pipe is closed.
"""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Generic, TypeVar

from proxy_training.errors import CorpusError

Task = TypeVar("Task")
Result = TypeVar("Result")
OrderedMap = Callable[[Iterable[Task]], Iterator[Result]]


@contextmanager
def ordered_map(work: Callable[[Task], Result], processes: int) -> Iterator[OrderedMap[Task, Result]]:
    """A function like ``map(work, tasks)`` that spreads the work; with one process it works in this one.

    It raises what ``work`` raises for the first task that fails, and ``CorpusError`` when a process was killed.
    """
    if processes == 1:
        yield lambda tasks: map(work, tasks)
        return
    workers: list[_Worker[Task, Result]] = []
    try:
        workers.extend(_Worker(work) for _ in range(processes))
        yield lambda tasks: _in_order(workers, tasks)
    finally:
        for worker in workers:
            worker.stop()


def _in_order(workers: list[_Worker[Task, Result]], tasks: Iterable[Task]) -> Iterator[Result]:
    idle, busy, tasks = deque(workers), deque[_Worker[Task, Result]](), iter(tasks)

    def hand_out() -> None:
        while idle:
            for task in tasks:
                idle[0].send(task)
                busy.append(idle.popleft())
                break
            else:
                return

    hand_out()
    while busy:
        worker = busy.popleft()
        result = worker.receive()
        idle.append(worker)
        hand_out()  # before the result is used, so that nobody waits for that
        yield result


class _Worker(Generic[Task, Result]):
    """One process and the pipe to it."""

    def __init__(self, work: Callable[[Task], Result]) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(target=_serve, args=(theirs, work), daemon=True)
        with _deaf_to_interrupts():
            self._process.start()
        theirs.close()

    def send(self, task: Task) -> None:
        try:
            self._pipe.send(task)
        except ConnectionError as exc:
            raise self._died() from exc

    def receive(self) -> Result:
        try:
            result, error = self._pipe.recv()
        except (EOFError, ConnectionError) as exc:
            raise self._died() from exc
        if error is not None:
            raise error
        return result

    def stop(self) -> None:
        self._pipe.close()
        self._process.terminate()
        self._process.join()

    def _died(self) -> CorpusError:
        self._process.join()
        code = self._process.exitcode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return CorpusError(
            f"a worker process {how}; nothing was written. If memory ran out, ask for fewer with --processes"
        )


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """What is started within never hears Ctrl-C, which a terminal sends to parents and children alike.

    A handler that the child sets itself would come too late for the first tenths of a second: a traceback of its
    unfinished imports would be what the user sees. This process hears it at the end: a child whose start was broken
    off would complain, too.
    """
    resource_tracker.ensure_running()  # starting it lets interrupts through again
    heard: list[int] = []
    in_charge = threading.current_thread() is threading.main_thread()  # of handlers; a mask is each thread's own
    handler = signal.signal(signal.SIGINT, lambda signum, _: heard.append(signum)) if in_charge else None
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if in_charge:
            signal.signal(signal.SIGINT, handler)
        for signum in heard:
            signal.raise_signal(signum)


def _serve(pipe: Connection, work: Callable[[Task], Result]) -> None:
    """The life of a worker."""
    try:
        while True:
            task = pipe.recv()
            try:
                answer = (work(task), None)
            except Exception as exc:
                answer = (None, exc)
            pipe.send(answer)
    except (EOFError, ConnectionError):  # the building process is gone or has closed the pipe
        return
