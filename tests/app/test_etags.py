"""Versions of what callers read: a change made on an old version is refused, an answer that is known is left out."""

from __future__ import annotations

from typing import ClassVar

import pytest
from pydantic import BaseModel

from app.errors import PreconditionFailed, PreconditionRequired
from app.etags import Precondition, etag_of, is_known


class Counted(BaseModel):
    """A name that callers change and a count that moves by itself."""

    VOLATILE: ClassVar[frozenset[str]] = frozenset({"count"})
    name: str
    count: int


READ = Counted(name="a", count=1)
MOVED = Counted(name="a", count=2)
CHANGED = Counted(name="b", count=1)


def test_equal_answers_have_equal_tags_and_others_do_not() -> None:
    assert etag_of(READ) == etag_of(Counted(name="a", count=1))
    assert len({etag_of(READ), etag_of(MOVED), etag_of(CHANGED)}) == 3


def test_what_moves_by_itself_does_not_stand_in_the_way_of_a_change() -> None:
    assert Precondition(etag_of(READ)).require(MOVED) == MOVED


def test_a_change_by_another_caller_does() -> None:
    with pytest.raises(PreconditionFailed, match="read it again"):
        Precondition(etag_of(READ)).require(CHANGED)


def test_a_change_must_name_a_version() -> None:
    for empty in (None, "", " , "):
        with pytest.raises(PreconditionRequired):
            Precondition(empty).require(READ)


def test_a_star_takes_any_version_and_a_list_takes_one_of_it() -> None:
    assert Precondition("*").require(CHANGED) == CHANGED
    assert Precondition(f"{etag_of(READ)}, {etag_of(CHANGED)}").require(CHANGED) == CHANGED


def test_only_an_answer_that_is_equal_in_everything_is_known() -> None:
    assert is_known(etag_of(READ), etag_of(READ))
    assert is_known(f"W/{etag_of(READ)}", etag_of(READ))
    assert not is_known(etag_of(READ), etag_of(MOVED))
    assert not is_known(None, etag_of(READ))
