"""The same work in several processes, with its results in the order of the tasks.

Workers are started afresh (spawned): a copy of this process could hold locks of threads that it does not have, and
numerical libraries with threads do not survive a fork. They leave Ctrl-C to this process, from their first instruction
on, and end when it does, even when it is killed: then their pipe is closed.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Generic, TypeVar

from proxy_training.errors import WorkerLost

Task = TypeVar("Task")
Result = TypeVar("Result")
OrderedMap = Callable[[Iterable[Task]], Iterator[Result]]


@contextmanager
def ordered_map(
    work: Callable[[Task], Result], processes: int, ahead: int | None = None
) -> Iterator[OrderedMap[Task, Result]]:
    """A function like ``map(work, tasks)`` that spreads the work; with one process it works in this one.

    Args:
        work: is sent to every process once, by pickle.
        processes: at least 1.
        ahead: how many tasks may be begun whose results were not taken yet, at least ``processes``, which is what
            it is by default; it bounds memory. More lets a process go on while another has a long task.

    The function raises what ``work`` raises for the first task that fails.

    Raises:
        WorkerLost: a process was killed.
    """
    if processes == 1:
        yield lambda tasks: map(work, tasks)
        return
    workers: list[_Worker[Task, Result]] = []
    try:
        workers.extend(_Worker(work) for _ in range(processes))
        yield lambda tasks: _in_order(workers, tasks, ahead or processes)
    finally:
        for worker in workers:
            worker.stop()


def _in_order(workers: list[_Worker[Task, Result]], tasks: Iterable[Task], ahead: int) -> Iterator[Result]:
    idle, numbered = list(workers), enumerate(tasks)
    busy: dict[Connection, tuple[_Worker[Task, Result], int]] = {}
    ready: dict[int, Result | Exception] = {}
    taken = 0

    def hand_out() -> None:
        while idle and len(busy) + len(ready) < ahead:
            for number, task in numbered:
                worker = idle.pop()
                worker.send(task)
                busy[worker.pipe] = worker, number
                break
            else:
                return

    hand_out()
    while busy or ready:
        while taken not in ready:
            for pipe in wait(list(busy)):
                worker, number = busy.pop(pipe)  # type: ignore[index]
                ready[number] = worker.receive()
                idle.append(worker)
            hand_out()
        result = ready.pop(taken)
        taken += 1
        if isinstance(result, Exception):
            raise result
        hand_out()  # before the result is used, so that nobody waits for that
        yield result


class _Worker(Generic[Task, Result]):
    """One process and the pipe to it."""

    def __init__(self, work: Callable[[Task], Result]) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(target=_serve, args=(theirs, work), daemon=True)
        with _deaf_to_interrupts():
            self._process.start()
        theirs.close()

    def send(self, task: Task) -> None:
        try:
            self.pipe.send(task)
        except ConnectionError as exc:
            raise self._died() from exc

    def receive(self) -> Result | Exception:
        try:
            return self.pipe.recv()
        except (EOFError, ConnectionError) as exc:
            raise self._died() from exc

    def stop(self) -> None:
        self.pipe.close()
        self._process.terminate()
        self._process.join()

    def _died(self) -> WorkerLost:
        self._process.join()
        code = self._process.exitcode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return WorkerLost(f"a worker process {how}")


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
                answer: object = work(task)
            except Exception as exc:
                answer = exc
            pipe.send(answer)
    except (EOFError, ConnectionError):  # the process that gives the tasks is gone or has closed the pipe
        return
