"""One question to the database for many listeners: a task that reads for as long as somebody listens.

A listener waits on an ``asyncio.Event`` and costs no thread. The task has one thread of its own, for those of the
requests may all be busy. What is read, and whom it concerns, is said by whoever has the listeners.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from anyio import CapacityLimiter

from app.event_streams import HEARTBEAT_SECONDS

POLL_SECONDS = 0.5

log = structlog.get_logger(__name__)


class OneReader:
    """The task. It belongs to the event loop in which it was begun.

    Args:
        name: of the task.
        listened: whether anybody listens.
        look: reads what is new on a thread of this limiter, and tells the listeners; whether more is there at once.
    """

    def __init__(
        self, name: str, listened: Callable[[], bool], look: Callable[[CapacityLimiter], Awaitable[bool]]
    ) -> None:
        self._name, self._listened, self._look = name, listened, look
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> bool:
        """Read from now on; whether the task is a new one, which has seen nothing yet."""
        # A loop that was closed took its task with it.
        if self._task is None or self._task.done() or self._task.get_loop() is not asyncio.get_running_loop():
            self._task = asyncio.create_task(self._read(), name=self._name)
            return True
        return False

    async def _read(self) -> None:
        """Until nobody listens any more."""
        limiter = CapacityLimiter(1)
        while self._listened():
            try:
                if await self._look(limiter):
                    continue
            except Exception as exc:  # the listeners wait for it: it goes on when the database is back
                log.error("What is new cannot be read", action="reading_failed", reader=self._name, error=str(exc))
            await asyncio.sleep(POLL_SECONDS)


async def changes(changed: asyncio.Event) -> bool:
    """Whether something changes before the listener is due a heartbeat."""
    try:
        await asyncio.wait_for(changed.wait(), HEARTBEAT_SECONDS)
    except TimeoutError:
        return False
    return True


def wake(changed: asyncio.Event) -> asyncio.Event:
    """Wake who waits for this change; the event of the next one."""
    changed.set()
    return asyncio.Event()
