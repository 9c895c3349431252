"""Fits side by side in processes of their own, for commands that a person waits for."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

from mixers.laws.cross_fit import Outcome, RunTasks, Task

# One process a core gains nothing beyond the number of fits that run at once on a workstation.
_MOST_PROCESSES = 16


@contextmanager
def fit_pool(processes: int | None = None) -> Iterator[RunTasks]:
    """A runner of fits for ``mixers.fidelity.compare``: one process a core unless a number is given.

    The processes are started afresh (not forked): numerical libraries with threads do not survive a fork.
    """
    count = min(processes or os.cpu_count() or 1, _MOST_PROCESSES)
    # Small fits are fastest on one thread each; inherited by the processes, read when their libraries load.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:

        def run(function: Callable[[Task], Outcome], tasks: Sequence[Task]) -> Iterable[Outcome]:
            return pool.map(function, tasks)

        try:
            yield run
        finally:  # after an error or an interrupt nobody waits for the fits that are still queued
            pool.shutdown(wait=True, cancel_futures=True)
