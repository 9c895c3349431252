"""Lines of another program in our log: shortened, made harmless, and never more than a log can take."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from pydantic import JsonValue

_LINES_A_SECOND = 20
_SHOWN_CHARACTERS = 500


class PacedLog:
    """Passes on what ``speaker`` says, and tells how many lines it has left out."""

    def __init__(self, log: logging.Logger, speaker: str, extra: Mapping[str, JsonValue]) -> None:
        self._log = log
        self._speaker = speaker
        self._extra = dict(extra)
        self._second = 0
        self._lines = 0
        self._left_out = 0

    def line(self, text: str) -> None:
        """Log ``text``, or count it when there were too many in this second."""
        second = int(time.monotonic())
        if second != self._second:
            if self._left_out:
                self._log.info("%s: %d lines are left out", self._speaker, self._left_out, extra=self._extra)
            self._second, self._lines, self._left_out = second, 0, 0
        self._lines += 1
        if self._lines > _LINES_A_SECOND:
            self._left_out += 1
            return
        # Control characters could rewrite what a terminal shows.
        shown = "".join(char if char.isprintable() else " " for char in text[:_SHOWN_CHARACTERS])
        self._log.info("%s: %s", self._speaker, shown, extra=self._extra)
