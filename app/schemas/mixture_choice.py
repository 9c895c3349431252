"""Which mixture of a recommendation is acted on: the recommended one, or the best that was measured."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from app.schemas.common import Body


class MixtureChoice(StrEnum):
    """A recommendation is predicted beside the best measured mixture, and offers one of the two."""

    RECOMMENDED = "recommended"
    BEST_MEASURED = "best_measured"


OFFERED = "offered"
WantedMixture = Annotated[
    Literal["offered", "recommended", "best_measured"],
    Field(description="offered is the one that the recommendation itself offers, as `details.offered` says"),
]


class AdoptionCreate(Body):
    """What is adopted of a recommendation. Without a body, what it offers."""

    mixture: WantedMixture = OFFERED
