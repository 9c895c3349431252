"""What the bodies of the API share.

Weights are ``{domain: weight}``; losses are in the target's unit and minimised; tokens are counts; times are
aware and UTC. ``Create`` records are what a caller sends, ``Read`` records what it gets.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat

from proxy_training.spec import ExactNumbers

Name = Annotated[str, Field(min_length=1, max_length=200)]
NonNegative = Annotated[FiniteFloat, Field(ge=0)]
Weights = dict[Name, NonNegative]
Item = TypeVar("Item")


def _no_number(value: object) -> object:
    """A bare number would be taken for seconds since 1970, or for milliseconds when it is large."""
    try:
        float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return value
    raise ValueError("must be a time with its zone, as in 2026-01-31T12:00:00Z, not a number")


# Times at either end of the calendar cannot be turned to UTC.
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)


def _in_reach(moment: datetime) -> datetime:
    if not _EARLIEST <= moment <= _LATEST:
        raise ValueError(f"must be a time from {_EARLIEST:%Y-%m-%d} to {_LATEST:%Y-%m-%d}")
    return moment


Moment = Annotated[AwareDatetime, BeforeValidator(_no_number), AfterValidator(_in_reach)]

# A published mixture is rounded; within this of 1 the service renormalises, beyond it refuses.
WEIGHT_SUM_TOLERANCE = 0.005


class Body(ExactNumbers):
    """What a caller sends: an unknown field is an error that names it."""

    model_config = ConfigDict(extra="forbid")


class Answer(BaseModel):
    """What a caller gets."""

    model_config = ConfigDict(from_attributes=True)


class Problem(BaseModel):
    """RFC 9457. ``errors`` names each wrong field and what would be accepted."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    errors: list[dict[str, str]] | None = None


class Page(Answer, Generic[Item]):
    items: list[Item]
    next_cursor: str | None = None
