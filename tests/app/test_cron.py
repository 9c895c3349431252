"""Cron expressions in time zones: the nights on which clocks change, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidRequest
from app.services.cron import check_cron, firing_times, next_firing

BERLIN = "Europe/Berlin"
SPRING, AUTUMN = datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 10, 24, 12, tzinfo=UTC)


def _local(cron: str, zone: str, after: datetime, count: int) -> list[str]:
    return [f"{at.astimezone(ZoneInfo(zone)):%d %H:%M %z}" for at in islice(firing_times(cron, zone, after), count)]


def test_a_time_that_the_night_of_spring_leaves_out_happens_once_after_the_gap() -> None:
    """On 29 March 2026 the clocks of Berlin go from 02:00 to 03:00."""
    assert _local("30 2 * * *", BERLIN, SPRING, 2) == ["29 03:00 +0200", "30 02:30 +0200"]


def test_times_of_the_gap_that_meet_happen_once() -> None:
    assert _local("15,45 2,3 * * *", BERLIN, SPRING, 4) == [
        "29 03:00 +0200",
        "29 03:15 +0200",
        "29 03:45 +0200",
        "30 02:15 +0200",
    ]


def test_a_time_that_the_night_of_autumn_has_twice_happens_once() -> None:
    """On 25 October 2026 the clocks of Berlin go from 03:00 back to 02:00."""
    assert _local("30 2 * * *", BERLIN, AUTUMN, 2) == ["25 02:30 +0200", "26 02:30 +0100"]


def test_the_second_of_two_equal_hours_does_not_fire_again() -> None:
    in_second_hour = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)
    assert f"{in_second_hour.astimezone(ZoneInfo(BERLIN)):%H:%M %z}" == "02:10 +0100"
    assert _local("30 2 * * *", BERLIN, in_second_hour, 1) == ["26 02:30 +0100"]


@pytest.mark.parametrize("night", [SPRING, AUTUMN])
def test_every_half_hour_goes_on_through_both_nights(night: datetime) -> None:
    times = list(islice(firing_times("*/30 * * * *", BERLIN, night), 60))
    assert {(later - earlier).total_seconds() for earlier, later in pairwise(times)} == {1800}


def test_a_zone_moves_the_time_of_day() -> None:
    after = datetime(2026, 1, 1, tzinfo=UTC)
    assert next_firing("0 9 * * *", "Asia/Kolkata", after) == datetime(2026, 1, 1, 3, 30, tzinfo=UTC)
    assert next_firing("0 9 * * MON", "America/New_York", after) == datetime(2026, 1, 5, 14, tzinfo=UTC)


@given(
    st.sampled_from(["*/7 * * * *", "30 2 * * *", "0 0 29 2 *", "15 */5 1,15 * *", "0 12 L * *", "5 3 * * 5#2"]),
    st.sampled_from([BERLIN, "UTC", "America/Sao_Paulo", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Cairo"]),
    st.integers(946_684_800, 2_208_988_800).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
)
def test_times_are_later_than_asked_and_rise(cron: str, zone: str, after: datetime) -> None:
    times = [after, *islice(firing_times(cron, zone, after), 5)]
    assert len(times) == 6
    assert all(earlier < later for earlier, later in pairwise(times))


@pytest.mark.parametrize(
    ("cron", "zone", "why"),
    [
        ("* * * *", "UTC", "it has 4 fields"),
        ("0 * * * * *", "UTC", "it has 6 fields"),
        ("@daily", "UTC", "it has 1 fields"),
        ("61 * * * *", "UTC", "minute cannot be read"),
        ("* 24 * * *", "UTC", "hour cannot be read"),
        ("* * * * FRY", "UTC", "day-of-week cannot be read"),
        ("0 0 31 2 *", "UTC", "day-of-month cannot be read"),
        ("0 0 31 2,4 *", "UTC", "day-of-month cannot be read"),
        ("* * * * *", "Europe/Berlln", "there is no time zone 'Europe/Berlln'"),
        ("* * * * *", "../../etc/passwd", "there is no time zone"),
        ("* * * * *", "", "there is no time zone"),
    ],
)
def test_what_cannot_be_followed_is_refused(cron: str, zone: str, why: str) -> None:
    with pytest.raises(InvalidRequest, match=why):
        check_cron(cron, zone)
