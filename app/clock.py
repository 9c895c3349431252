"""Time enters the service as ``now``: from this clock in a real service, from another one in tests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The present, aware and in UTC."""
    return datetime.now(UTC)
