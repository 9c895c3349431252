"""The log of an agent process on standard error: for people, or one JSON object a line for machines."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any

# What every record of ``logging`` has; all else came in through ``extra``.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def extra_of(record: logging.LogRecord) -> dict[str, Any]:
    """What the line carries in ``extra``."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


class JsonFormatter(logging.Formatter):
    """``timestamp``, ``level``, ``message`` and whatever the line carries in ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **extra_of(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure_logs() -> None:
    """Set up logging for this process from MIXWRIGHT_LOG_FORMAT (console, json) and MIXWRIGHT_LOG_LEVEL."""
    handler = logging.StreamHandler(sys.stderr)
    if os.environ.get("MIXWRIGHT_LOG_FORMAT", "").lower() == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S"))
    root = logging.getLogger()
    root.handlers = [handler]
    named = logging.getLevelNamesMapping().get(os.environ.get("MIXWRIGHT_LOG_LEVEL", "").upper())
    root.setLevel(named or logging.INFO)
    # One line a request would drown what the agent itself has to say.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("httpcore").setLevel(logging.WARNING)
