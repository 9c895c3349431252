"""Bodies: the weights that training pipelines read."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import Field

from app.schemas.common import Answer
from app.schemas.mixture_choice import MixtureChoice
from proxy_training.spec import Stage


class WeightsRead(Answer):
    """The adopted weights. ``version`` changes whenever others are adopted; log it beside the step.

    ``mixture`` is the one of the recommendation that they are. ``weights`` are those of the whole run; ``stages`` say
    when which apply, and are empty when no token count is known.
    """

    study_id: UUID
    recommendation_id: UUID
    mixture: MixtureChoice
    reason: str = Field(description="why this mixture, and not the other")
    version: str
    weights: dict[str, float]
    stages: list[Stage]
    adopted_at: datetime
