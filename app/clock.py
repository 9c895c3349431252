"""Time enters the service as ``now``: from this clock in a real service, from another one in tests.

Leases and schedules are promises about durations. Were they measured by the system's clock, one that is set back an
hour would keep the runs of dead agents for an hour, and one that is set forward would take all runs from agents that
live. So the clock is read once; from then on the machine's own count of seconds is added, which nobody can set.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache

Clock = Callable[[], datetime]

# The system's clock was set for a reason: it is followed, by at most one second in a hundred.
_FOLLOW = 0.01


def _system_time() -> datetime:
    return datetime.now(UTC)


def _elapsed_seconds() -> float:
    """Seconds since some moment, those that the machine slept included where that is known."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class SteadyClock:
    """Aware UTC times that never go back; seconds of it are seconds, to one in a hundred.

    Args:
        system_time: what the clock starts from and drifts towards.
        elapsed_seconds: a count of seconds that never goes back.
    """

    def __init__(
        self,
        system_time: Clock = _system_time,
        elapsed_seconds: Callable[[], float] = _elapsed_seconds,
    ) -> None:
        self._system_time, self._elapsed = system_time, elapsed_seconds
        self._start, self._started = system_time(), elapsed_seconds()
        self._read_at, self._correction = self._started, 0.0
        self._lock = threading.Lock()

    def __call__(self) -> datetime:
        with self._lock:
            elapsed = self._elapsed()
            step = max(elapsed - self._read_at, 0.0)
            self._read_at += step
            steady = self._start + timedelta(seconds=self._read_at - self._started)
            off = (self._system_time() - steady).total_seconds() - self._correction
            self._correction += min(max(off, -_FOLLOW * step), _FOLLOW * step)
            return steady + timedelta(seconds=self._correction)


@cache
def _steady() -> SteadyClock:
    return SteadyClock()


def utc_now() -> datetime:
    """The present, aware and in UTC; it never goes back inside of a process."""
    return _steady()()
