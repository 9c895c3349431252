"""How often a key may call, and how often an address may try to get in.

The counts live in this process: with several replicas each has its own. Windows slide, and are named by their time, so
that a clock that steps back locks nobody out.
"""

from __future__ import annotations

import math
import time

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from app.errors import TooManyRequests
from app.principal import Principal


class RateLimits:
    """The limits of one process.

    Args:
        calls: of one key, as in ``600/second``.
        failures: tries to get in from one address, as in ``20/minute``.
    """

    def __init__(self, calls: str, failures: str) -> None:
        self._calls, self._failures = parse(calls), parse(failures)
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def take_call(self, principal: Principal) -> None:
        """Count a call.

        Raises:
            TooManyRequests: the key has called too often.
        """
        who = str(principal.key_id or principal.name)
        self._take(self._calls, f"this key may make {_words(self._calls)}", "call", who)

    def take_failure(self, address: str) -> None:
        """Count a call with a wrong key.

        Raises:
            TooManyRequests: there were too many from this address.
        """
        self._take(self._failures, "too many calls with a wrong key came from your address", "failure", address)

    def take_login(self, address: str) -> None:
        """Count a try to log in.

        Raises:
            TooManyRequests: there were too many from this address.
        """
        self._take(self._failures, f"an address may try to log in {_words(self._failures)}", "login", address)

    def may_guess(self, address: str) -> bool:
        """Whether an address has tried fewer wrong keys than it may."""
        return self._limiter.test(self._failures, "failure", address)

    def _take(self, limit: RateLimitItem, sentence: str, *who: str) -> None:
        if self._limiter.hit(limit, *who):
            return
        reset = self._limiter.get_window_stats(limit, *who).reset_time
        wait = max(1, math.ceil(reset - time.time()))
        raise TooManyRequests(f"{sentence}; try again in {wait} s", retry_after_seconds=wait)


def _words(limit: RateLimitItem) -> str:
    return f"{limit.amount} times in {limit.get_expiry()} s"
