"""Weights that a caller gives stage by stage: a run that changes its mixture on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from app.errors import InvalidRequest
from app.schemas.recommendations import StageCreate
from app.services.mixtures import parse_weights, vector


def checked_stages(stages: Sequence[StageCreate] | None, names: Sequence[str]) -> list[dict[str, Any]]:
    """The stages as they are stored, each with weights over all ``names`` of sum 1; empty when none are given.

    Raises:
        InvalidRequest: naming the first stage that leaves a gap, has no tokens, or whose weights are wrong.
    """
    checked: list[dict[str, Any]] = []
    begins = 0
    for i, stage in enumerate(stages or ()):
        field = f"stages.{i}"
        if stage.from_token != begins:
            raise InvalidRequest.of(
                f"{field}.from_token", f"it is {stage.from_token}", f"{begins}, so that no gap is left"
            )
        if stage.to_token <= stage.from_token:
            raise InvalidRequest.of(f"{field}.to_token", f"it is {stage.to_token}", f"more than {stage.from_token}")
        weights, _ = parse_weights(stage.weights, names, f"{field}.weights")
        checked.append({"from_token": stage.from_token, "to_token": stage.to_token, "weights": weights})
        begins = stage.to_token
    return checked


def mean_weights(stages: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Float[np.ndarray, " k"]:
    """The share of each domain in the tokens of all stages."""
    tokens = np.array([stage["to_token"] - stage["from_token"] for stage in stages], dtype=float)
    return tokens / tokens.sum() @ np.stack([vector(stage["weights"], names) for stage in stages])


def about_stages(stages: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a reader of predictions must know when the mixture changes on the way."""
    if len(stages) < 2:
        return []
    return [
        f"The mixture changes {len(stages) - 1} times: predicted is the mean of the stages, weighted by their tokens; "
        "the laws do not know in which order a model sees the domains."
    ]
