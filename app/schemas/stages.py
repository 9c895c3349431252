"""Bodies: weights that hold for a part of a run only."""

from __future__ import annotations

from pydantic import Field

from app.schemas.common import Body, Weights


class StageCreate(Body):
    """Weights from one token of the run (inclusive) to another (exclusive)."""

    from_token: int = Field(ge=0, le=10**18)
    to_token: int = Field(ge=1, le=10**18)
    weights: Weights
