"""Bodies: the weights that training pipelines read."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from app.schemas.common import Answer
from proxy_training.spec import Stage


class WeightsRead(Answer):
    """The adopted recommendation. ``version`` changes whenever another is adopted; log it beside the step.

    ``weights`` are those of the whole run; ``stages`` say when which apply, and are empty when no token count is known.
    """

    study_id: UUID
    recommendation_id: UUID
    version: str
    weights: dict[str, float]
    stages: list[Stage]
    adopted_at: datetime
