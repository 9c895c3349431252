"""Weights that a caller gives stage by stage: a run that changes its mixture on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from app.errors import InvalidRequest
from app.schemas.runs import RunCreate
from app.schemas.stages import StageCreate
from app.services.mixtures import named, parse_weights, vector


def checked_stages(
    stages: Sequence[StageCreate] | None, names: Sequence[str], field: str = "stages"
) -> tuple[list[dict[str, Any]], bool]:
    """The stages as they are stored, each with weights over all ``names`` of sum 1; empty when none are given.

    True beside them where some weights were off by more than float rounding.

    Raises:
        InvalidRequest: naming the first stage that leaves a gap, has no tokens, or whose weights are wrong.
    """
    checked: list[dict[str, Any]] = []
    begins, renormalised = 0, False
    for i, stage in enumerate(stages or ()):
        at = f"{field}.{i}"
        if stage.from_token != begins:
            raise InvalidRequest.of(
                f"{at}.from_token", f"it is {stage.from_token}", f"{begins}, so that no gap is left"
            )
        if stage.to_token <= stage.from_token:
            raise InvalidRequest.of(f"{at}.to_token", f"it is {stage.to_token}", f"more than {stage.from_token}")
        weights, was_off = parse_weights(stage.weights, names, f"{at}.weights")
        renormalised |= was_off
        checked.append({"from_token": stage.from_token, "to_token": stage.to_token, "weights": weights})
        begins = stage.to_token
    return checked, renormalised


def mean_weights(stages: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Float[np.ndarray, " k"]:
    """The share of each domain in the tokens of all stages."""
    tokens = np.array([stage["to_token"] - stage["from_token"] for stage in stages], dtype=float)
    return tokens / tokens.sum() @ np.stack([vector(stage["weights"], names) for stage in stages])


def scaled_stages(stages: Sequence[Mapping[str, Any]], train_tokens: int) -> list[dict[str, Any]]:
    """The stages of a run of another length, each with its share of the tokens, rounded down to whole ones.

    Raises:
        InvalidRequest: a stage would get no token.
    """
    scaled: list[dict[str, Any]] = []
    begins, end = 0, stages[-1]["to_token"]
    for i, stage in enumerate(stages):
        to_token = stage["to_token"] * train_tokens // end
        if to_token <= begins:
            message = f"of {train_tokens} tokens none is left for stage {i}"
            raise InvalidRequest.of("settings.train_tokens", message, "a run long enough for every stage")
        scaled.append({"from_token": begins, "to_token": to_token, "weights": dict(stage["weights"])})
        begins = to_token
    return scaled


def about_verified_stages(stages: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a reader must know who compares runs of stages with what was predicted."""
    if len(stages) < 2:
        return []
    return [
        f"The recommended runs train the {len(stages)} stages, each with its share of their tokens; predicted is the "
        "mean of the stages, weighted by their tokens, for the laws do not know in which order a model sees the domains"
    ]


class Mixture(NamedTuple):
    """What a run is trained on: ``weights`` of all its tokens, and its ``stages`` where there is more than one."""

    weights: dict[str, float]
    stages: list[dict[str, Any]] | None
    renormalised: bool


def mixture_of(wanted: RunCreate, names: Sequence[str], field: str) -> Mixture:
    """The mixture of a run that is to be made, over all ``names``.

    Raises:
        InvalidRequest: naming the weight or stage below ``field`` that is wrong.
    """
    if wanted.weights is not None:
        weights, was_off = parse_weights(wanted.weights, names, f"{field}.weights")
        return Mixture(weights, None, was_off)
    stages, was_off = checked_stages(wanted.stages, names, f"{field}.stages")
    end = wanted.settings.train_tokens if wanted.settings else wanted.train_tokens
    if end not in (None, stages[-1]["to_token"]):
        told = f"it is {stages[-1]['to_token']}"
        raise InvalidRequest.of(f"{field}.stages.{len(stages) - 1}.to_token", told, f"{end}, the tokens of the run")
    if len(stages) == 1:
        return Mixture(stages[0]["weights"], None, was_off)
    return Mixture(named(mean_weights(stages, names), names), stages, was_off)


def about_staged_runs(count: int, runs: int) -> list[str]:
    """What a reader of a fit must know about the runs in it whose mixture changed on the way."""
    if count == 0:
        return []
    return [
        f"{count} of {runs} runs changed their weights on the way; each counts as the mean of its stages, weighted by "
        "their tokens, though a model that sees the domains in another order ends at other losses"
    ]


def about_stages(stages: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a reader of predictions must know when the mixture changes on the way."""
    if len(stages) < 2:
        return []
    return [
        f"The mixture changes {len(stages) - 1} times: predicted is the mean of the stages, weighted by their tokens; "
        "the laws do not know in which order a model sees the domains."
    ]
