"""When a schedule fires: cron expressions on the clocks of a time zone, answered as instants in UTC.

Summer time follows Debian's cron. A time of day that a night leaves out happens right after the gap, one that a night
has twice happens the first time; ``*/10`` and the like go on every ten minutes that really pass.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice

from cronsim import CronSim, CronSimError

from app.errors import InvalidRequest

_FIELDS = 5


def check_cron(cron: str, time_zone: str) -> None:
    """Refuse an expression or a zone that :func:`firing_times` could not follow.

    Raises:
        InvalidRequest: naming the field.
    """
    if time_zone not in _zones():
        accepted = "a name of the IANA database, as in Europe/Berlin, America/New_York or UTC"
        raise InvalidRequest.of("time_zone", f"there is no time zone {time_zone!r}", accepted)
    accepted = "minute, hour, day of month, month and day of week, as in '30 2 * * MON-FRI'"
    if len(cron.split()) != _FIELDS:
        raise InvalidRequest.of("cron", f"it has {len(cron.split())} fields, not {_FIELDS}", accepted)
    try:
        CronSim(cron, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as exc:
        wrong = str(exc).removeprefix("Bad ")
        raise InvalidRequest.of("cron", f"its field for the {wrong} cannot be read", accepted) from exc
    if not list(islice(firing_times(cron, "UTC", datetime(2000, 1, 1, tzinfo=UTC)), 1)):
        raise InvalidRequest.of("cron", "no day is ever like this", accepted)


def firing_times(cron: str, time_zone: str, after: datetime) -> Iterator[datetime]:
    """The instants after ``after``, each once, in order; ends when there are no more in fifty years."""
    last = after
    for local in CronSim(cron, after.astimezone(zoneinfo.ZoneInfo(time_zone))):
        at = local.astimezone(UTC)
        # Two times of a gap end at the same instant, and the first of a doubled hour may lie before ``after``.
        if at > last:
            last = at
            yield at


def next_firing(cron: str, time_zone: str, after: datetime) -> datetime | None:
    """The first instant after ``after``."""
    return next(firing_times(cron, time_zone, after), None)


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones()) - {"localtime", "Factory"}
