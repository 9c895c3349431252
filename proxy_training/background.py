"""A thread that works beside the training for as long as a context is open."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class BackgroundThread(ABC):
    """A context: the thread runs inside of it and is waited for at its end.

    Args:
        name: of the thread, for whoever looks at a hanging process.
    """

    def __init__(self, name: str) -> None:
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del kind, error, trace
        self._closing.set()
        self._thread.join()

    @abstractmethod
    def _keep(self) -> None:
        """The work of the thread, until ``_closing`` is set."""
