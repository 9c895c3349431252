"""What a process keeps of values that are dear to read and never change: the latest ones, within a limit of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, TypeVar

Value = TypeVar("Value")

# Twenty thousand runs of twenty domains take five megabytes.
MAX_BYTES = 128 * 2**20


class RecentValues:
    """Values by keys that name their content. Safe in threads; two that miss together may both read."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes, self._lock = max_bytes, Lock()
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._bytes = 0

    @property
    def held_bytes(self) -> int:
        """What is kept now."""
        return self._bytes

    def get(self, key: Hashable, read: Callable[[], tuple[Value, int]]) -> Value:
        """The value of ``key``; ``read`` gives it with its bytes where it is not kept. One too large is not kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
        value, size = read()
        with self._lock:
            if size <= self._max_bytes and key not in self._kept:
                self._kept[key] = (value, size)
                self._bytes += size
            while self._bytes > self._max_bytes:
                _, (_, freed) = self._kept.popitem(last=False)
                self._bytes -= freed
        return value
