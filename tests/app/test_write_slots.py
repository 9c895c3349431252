"""How many calls go on at once, and who waits for whom."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from starlette.types import Message, Receive, Scope, Send

from app.write_slots import COMPUTING_SLOTS, SLOTS, WriteSlots

COMPUTING = "/v1/studies/x/suggestions"
WRITING = "/v1/studies/x/runs"


async def _receive() -> Message:
    return {"type": "http.request"}


async def _send(message: Message) -> None:
    del message


async def _under_way(calls: list[tuple[str, str]]) -> Counter[str]:
    """How many of the calls (method, path) have begun once all were made, while none of them ends."""
    begun: Counter[str] = Counter()
    may_end = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del receive, send
        begun[scope["path"]] += 1
        await may_end.wait()

    slots = WriteSlots(app)
    tasks = [
        asyncio.ensure_future(slots({"type": "http", "method": method, "path": path}, _receive, _send))
        for method, path in calls
    ]
    for _ in range(10):
        await asyncio.sleep(0)
    found = Counter(begun)
    may_end.set()
    await asyncio.gather(*tasks)
    assert sum(begun.values()) == len(calls), "those that waited went on afterwards"
    return found


@pytest.mark.parametrize("path", [COMPUTING, "/v1/fits/x/predictions"])
def test_calls_that_compute_do_not_keep_others_from_writing(path: str) -> None:
    begun = asyncio.run(_under_way([("POST", path)] * 60 + [("POST", WRITING)] * 60 + [("GET", "/v1/studies")] * 60))
    assert begun == {path: COMPUTING_SLOTS, WRITING: SLOTS, "/v1/studies": 60}
