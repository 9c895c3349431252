"""Which mixture of a recommendation is acted on, and its weights; all that acts on a recommendation asks here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from app.errors import InvalidRequest
from app.models import Recommendation, Study
from app.schemas.mixture_choice import OFFERED, MixtureChoice


class Chosen(NamedTuple):
    """A mixture, and in a phrase why it is this one."""

    mixture: MixtureChoice
    reason: str


def choose(recommendation: Recommendation, wanted: str) -> Chosen:
    """The mixture that is asked for; the one that the recommendation offers, where that is asked for.

    Raises:
        InvalidRequest: the best measured mixture is wanted, and the recommendation knows none.
    """
    offered, why = offer(recommendation)
    if wanted == OFFERED:
        return Chosen(offered, f"the recommendation offers it: {why}")
    mixture = MixtureChoice(wanted)
    if mixture is offered:
        return Chosen(mixture, f"it was asked for, and the recommendation offers it: {why}")
    if mixture not in recommendation.predictions and mixture is MixtureChoice.BEST_MEASURED:
        raise InvalidRequest.of("mixture", "no measured mixture stands beside this recommendation", "recommended")
    other = offered.replace("_", " ")
    return Chosen(mixture, f"it was asked for, though the recommendation offers the {other} mixture: {why}")


def offer(recommendation: Recommendation) -> Chosen:
    """What the advice of the recommendation is, as ``details.offered`` holds it."""
    details = recommendation.details
    if details is None or details["offered"]["within_noise"] is None:
        return Chosen(MixtureChoice.RECOMMENDED, "no measured mixture stands beside it")
    offered = details["offered"]
    mixture = MixtureChoice(offered["mixture"])
    if not offered["within_noise"]:
        return Chosen(mixture, "the predicted gain over the best measured mixture is beyond the noise")
    why = "the predicted gain over the best measured mixture is within the noise"
    if mixture is MixtureChoice.RECOMMENDED:
        why += ", but the constraints do not allow the measured one"
    return Chosen(mixture, why)


def adopted_mixture(session: Session, study: Study) -> tuple[Recommendation, dict[str, float]] | None:
    """The recommendation that the study has adopted, and the weights of the mixture that is adopted of it."""
    if study.adopted_recommendation_id is None or study.adopted_mixture is None:
        return None
    recommendation = session.get_one(Recommendation, study.adopted_recommendation_id)
    return recommendation, chosen_weights(recommendation, study.adopted_mixture)


def chosen_weights(recommendation: Recommendation, mixture: MixtureChoice) -> dict[str, float]:
    """The weights of the whole run, by domain."""
    if mixture is MixtureChoice.BEST_MEASURED:
        return dict(recommendation.predictions[mixture]["weights"])
    return recommended_weights(recommendation.weights)


def recommended_weights(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The weights out of the rows that a recommendation keeps of its domains."""
    return {row["domain"]: row["weight"] for row in rows}


def chosen_stages(stages: Sequence[Mapping[str, Any]], measured: Mapping[str, float] | None) -> list[dict[str, Any]]:
    """When which weights apply: the recommended ``stages``, or one stage as long with the weights ``measured``."""
    if measured is None or not stages:
        return [dict(stage) for stage in stages]
    return [{"from_token": 0, "to_token": stages[-1]["to_token"], "weights": dict(measured)}]
