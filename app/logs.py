"""Structured logs on standard error: for people (console) or for machines (one JSON object a line).

A line holds a sentence (``message``) and a machine-readable ``action``; inside a request it carries ``request_id``.
"""

from __future__ import annotations

import logging
import sys

import structlog

from app.settings import Settings


def configure_logs(settings: Settings) -> None:
    """Set up logging for this process; called by what starts a process, never by an import."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(settings)],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    # Uvicorn's own lines about starting and stopping say what ours say already.
    logging.getLogger("uvicorn").setLevel(max(root.level, logging.WARNING))
    logging.getLogger("alembic").setLevel(max(root.level, logging.WARNING))


def _renderers(settings: Settings) -> list[structlog.types.Processor]:
    rename = structlog.processors.EventRenamer("message")
    if settings.log_format == "json":
        return [structlog.processors.format_exc_info, rename, structlog.processors.JSONRenderer()]
    console = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(),
        event_key="message",
        # The default shows local variables, and with them whatever secret they hold.
        exception_formatter=structlog.dev.plain_traceback,
    )
    return [rename, console]
