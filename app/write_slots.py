"""How many calls may change something at the same time.

A call that writes waits for its turn in a thread. Were all threads of the process taken by such calls, the one whose
turn it is could not get the thread that it needs to answer and to end its transaction, and all would wait for each
other. Calls beyond the limit wait here instead, where waiting costs no thread. Nobody keeps a slot by sending slowly:
the body is complete before (``app/whole_body.py``).

Calls that compute for long and store nothing have slots of their own, so that a key that may only read cannot stop
those that write.
"""

from __future__ import annotations

import re

from anyio import CapacityLimiter
from starlette.types import ASGIApp, Receive, Scope, Send

# Well below the 40 threads that the framework has for the calls of a process.
SLOTS = 24
COMPUTING_SLOTS = 4
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_COMPUTING = re.compile(r".*/(suggestions|predictions)")


class WriteSlots:
    """Middleware: lets so many calls that may write through, and the next ones when those are done."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._limiters: tuple[CapacityLimiter, CapacityLimiter] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in _READING:
            await self.app(scope, receive, send)
            return
        if self._limiters is None:  # made here, where the event loop runs
            self._limiters = CapacityLimiter(SLOTS), CapacityLimiter(COMPUTING_SLOTS)
        writing, computing = self._limiters
        async with computing if _COMPUTING.fullmatch(scope["path"]) else writing:
            await self.app(scope, receive, send)
