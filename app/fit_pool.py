"""Fits side by side in processes of their own, for commands that a person waits for."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import resource_tracker

from app.errors import ServiceError
from mixers.laws.cross_fit import Outcome, RunTasks, Task

# One process a core gains nothing beyond the number of fits that run at once on a workstation.
_MOST_PROCESSES = 16


@contextmanager
def fit_pool(processes: int | None = None) -> Iterator[RunTasks]:
    """A runner of fits for ``mixers.fidelity.compare``: one process a core unless a number is given.

    The processes are started afresh (not forked): numerical libraries with threads do not survive a fork. They leave
    Ctrl-C to this process; after an error or an interrupt nobody waits for the fits that they are at.

    Raises:
        ServiceError: a process was killed.
    """
    count = min(processes or os.cpu_count() or 1, _MOST_PROCESSES)
    # Small fits are fastest on one thread each; inherited by the processes, read when their libraries load.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:

        def run(function: Callable[[Task], Outcome], tasks: Sequence[Task]) -> Iterator[Outcome]:
            with _without_interrupts():  # the processes are started as tasks are handed in
                fits = [pool.submit(function, task) for task in tasks]
            # Not pool.map: it cancels what is queued when its reader goes away, and a pool whose processes are then
            # terminated fails on fits that are cancelled already, and never ends.
            return (fit.result() for fit in fits)

        try:
            yield run
        except BaseException as exc:
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
            if isinstance(exc, BrokenExecutor):
                raise ServiceError(
                    "a process that fitted laws was killed; if memory ran out, name fewer with --laws"
                ) from exc
            raise


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """What is started within never hears Ctrl-C, which a terminal sends to parents and children alike.

    A handler that the child sets itself would come too late for the first tenths of a second: a traceback of its
    unfinished imports would be what the user sees.
    """
    resource_tracker.ensure_running()  # starting it lets interrupts through again
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
