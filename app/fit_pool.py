"""Fits side by side in processes of their own, for commands that a person waits for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from app.errors import ServiceError
from mixers.laws.cross_fit import Outcome, RunTasks, Task
from proxy_training.errors import WorkerLost
from proxy_training.worker_pool import ordered_map

# One process a core gains nothing beyond the number of fits that run at once on a workstation.
_MOST_PROCESSES = 16
# Outcomes are small; a long fit must not keep the other processes waiting.
_FITS_AHEAD = 1000


@contextmanager
def fit_pool(processes: int | None = None) -> Iterator[RunTasks]:
    """A runner of fits for ``mixers.fidelity.compare``: one process a core unless a number is given.

    Raises:
        ServiceError: a process was killed.
    """
    count = min(processes or os.cpu_count() or 1, _MOST_PROCESSES)
    # Small fits are fastest on one thread each; inherited by the processes, read when their libraries load.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        with ordered_map(_carry_out, count, max(count, _FITS_AHEAD)) as run_calls:

            def run(function: Callable[[Task], Outcome], tasks: Sequence[Task]) -> Iterator[Outcome]:
                return run_calls((function, task) for task in tasks)

            yield run
    except WorkerLost as exc:
        raise ServiceError(f"{exc}, so the fits are incomplete. If memory ran out, name fewer --laws") from exc


def _carry_out(call: tuple[Callable[[Task], Outcome], Task]) -> Outcome:
    function, task = call
    return function(task)
