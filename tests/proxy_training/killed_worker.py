"""The process of a slot on a machine without memory for more than two runs at once: it dies of SIGKILL then."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from proxy_training.engines import in_process
from proxy_training.engines.slot_worker import main
from proxy_training.stacked_run import StackedRun
from proxy_training.work import Assignment

ROOM = 2


class Stack(StackedRun):
    """Dies in its third step, where a larger one would fill the memory."""

    def __init__(self, assignments: Sequence[Assignment], *rest: object) -> None:
        super().__init__(assignments, *rest)  # type: ignore[arg-type]
        advance = self._trainer.advance

        def advance_in_little_memory() -> object:
            if len(self._trainer.members) > ROOM and self._trainer.step == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            return advance()

        self._trainer.advance = advance_in_little_memory  # type: ignore[method-assign,assignment]


if __name__ == "__main__":
    in_process.StackedRun = Stack
    main()
    os._exit(0)
