"""Identifiers that sort in the order of creation (UUID version 7, RFC 9562 section 5.7).

Pages and the queue walk an index in the order of ids; no second column has to say what came first.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from uuid import UUID

_COUNTER_BITS = 12
_RANDOM_BITS = 62


def new_ids(count: int, now: datetime) -> list[UUID]:
    """``count`` fresh identifiers, each greater than the one before it.

    48 bits hold the milliseconds of ``now``; 12 bits count inside the batch and carry over into the milliseconds
    (method 1 of section 6.2); 62 bits are random.
    """
    milliseconds = int(now.timestamp() * 1000)
    # Starting in the lower half leaves room to count before the carry.
    start = (milliseconds << _COUNTER_BITS) | secrets.randbits(_COUNTER_BITS - 1)
    return [_uuid7(start + i) for i in range(count)]


def new_id(now: datetime) -> UUID:
    """One fresh identifier."""
    return new_ids(1, now)[0]


def first_id(moment: datetime) -> UUID:
    """An identifier that is not greater than any that was made at ``moment`` or later."""
    return _with(max(int(moment.timestamp() * 1000), 0), 0, 0)


def _uuid7(tick: int) -> UUID:
    return _with(tick >> _COUNTER_BITS, tick & ((1 << _COUNTER_BITS) - 1), secrets.randbits(_RANDOM_BITS))


def _with(milliseconds: int, counter: int, random: int) -> UUID:
    version, variant = 0x7, 0b10
    return UUID(int=(milliseconds << 80) | (version << 76) | (counter << 64) | (variant << 62) | random)
