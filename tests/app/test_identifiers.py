"""Identifiers sort in the order of creation, in Python and in the database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from app.ids import new_id, new_ids

NOW = datetime(2026, 5, 4, 3, 2, 1, 234_567, tzinfo=UTC)


def test_a_batch_is_ordered_and_unique_beyond_what_one_millisecond_can_count() -> None:
    ids = new_ids(10_000, NOW)
    assert ids == sorted(set(ids))
    assert [key.hex for key in ids] == sorted(key.hex for key in ids)


def test_later_identifiers_are_greater() -> None:
    ids = [new_id(NOW + timedelta(milliseconds=i)) for i in range(200)]
    assert ids == sorted(ids)


def test_the_layout_is_that_of_version_7() -> None:
    key = new_id(NOW)
    assert key.version == 7
    assert key.variant == "specified in RFC 4122"
    assert key.int >> 80 == int(NOW.timestamp() * 1000)


def test_equal_times_do_not_give_equal_identifiers() -> None:
    assert len({new_id(NOW) for _ in range(1000)}) == 1000
