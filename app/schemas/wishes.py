"""Bodies: what is demanded of weights and what is minimised. The names are those of ``mixwright recommend``."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, FiniteFloat, Tag, model_validator

from app.schemas.common import Body, Name, NonNegative, Weights

_MaxEpochs = Annotated[float, Field(gt=0, le=1000)]
Share = Annotated[float, Field(ge=0, le=1)]
_Standing = Annotated[Literal["natural", "uniform", "adopted"], Tag("name")]
_Current = Annotated[
    _Standing | Annotated[Weights, Tag("weights")],
    Discriminator(lambda given: "name" if isinstance(given, str) else "weights"),
]


class Constraints(Body):
    """Limits on recommended weights. The epoch cap is ``max_epochs * available_tokens / target_tokens``,
    for domains in ``max_epochs_each`` with their own number.

    A group is named by the ``group`` of domains, or defined in ``groups``; such groups may overlap.
    """

    target_tokens: int | None = Field(default=None, ge=1, le=10**18, description="training tokens of the planned run")
    max_epochs: _MaxEpochs | None = Field(
        default=None, description="how often a domain's tokens may be seen; needs target_tokens"
    )
    max_epochs_each: dict[Name, _MaxEpochs] = Field(
        default={},
        description="how often the tokens of single domains may be seen, instead of max_epochs; needs target_tokens",
    )
    min_weights: dict[Name, Share] = {}
    max_weights: dict[Name, Share] = {}
    groups: dict[Name, Annotated[list[Name], Field(min_length=1)]] = Field(
        default={}, description="domains of further groups"
    )
    group_min: dict[Name, Share] = Field(default={}, description="least weight of a group together")
    group_max: dict[Name, Share] = Field(default={}, description="largest weight of a group together")
    freeze: dict[Name, Share | None] = Field(
        default={}, description="fixed weights; null keeps the weight of `current`"
    )
    current: _Current | None = Field(
        default=None,
        description="the mixture in use: weights, natural, uniform, or adopted (what the study has adopted when the "
        "recommendation is asked for); a baseline of that name",
    )
    max_change: NonNegative | None = Field(default=None, description="how far any weight may move from `current`")
    max_change_total: NonNegative | None = Field(
        default=None,
        description="how far all weights together may move from `current`: the sum of the absolute changes, so 0.2 "
        "lets a tenth of the mixture change hands",
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for name, cap in (("max_epochs", self.max_epochs), ("max_epochs_each", self.max_epochs_each or None)):
            if cap is not None and self.target_tokens is None:
                raise ValueError(f"{name} needs target_tokens: how many tokens the planned run trains on")
        if self.current is None:
            for name, given in (("max_change", self.max_change), ("max_change_total", self.max_change_total)):
                if given is not None:
                    raise ValueError(f"{name} needs current: the mixture that changes are counted from")
            kept = [domain for domain, weight in self.freeze.items() if weight is None]
            if kept:
                raise ValueError(f"freeze of {kept[0]!r} needs a weight, or current: the mixture whose weight is kept")
        return self


class Objective(Body):
    """What is minimised: the weighted mean of the targets plus ``kl_to_prior * KL(p || prior)``.

    With ``minimise_worst`` the mean gives way to the largest excess over a baseline. ``not_worse`` limits targets.
    Baselines are natural, uniform, temperature, unimax (with known tokens), current and best_measured.
    """

    kl_to_prior: float = Field(default=0.05, ge=0, le=1000)
    target_weights: dict[Name, NonNegative] = Field(default={}, description="importance instead of the targets' own")
    family_weight: dict[Name, NonNegative] = Field(
        default={}, description="importance of families of targets, 1 for the others; a target counts by its share"
    )
    minimise_worst: bool = Field(
        default=False, description="minimise the largest excess over `reference`, not the weighted mean"
    )
    worst_by: Literal["targets", "families"] | None = Field(default=None, description="targets when left out")
    worst_in_spreads: bool = Field(default=False, description="count an excess in standard deviations over the runs")
    reference: Name | None = Field(default=None, description="the baseline of the excess; natural when left out")
    not_worse: FiniteFloat | None = Field(
        default=None, description="by how much any target may be predicted worse than `not_worse_than`, in its unit"
    )
    not_worse_each: dict[Name, FiniteFloat] = Field(default={}, description="other allowances of single targets")
    not_worse_than: Name | None = Field(default=None, description="a baseline; natural when left out")
    by_family: bool = Field(default=False, description="apply `not_worse` to families")
    repetition_price: Annotated[FiniteFloat, Field(ge=0)] | None = Field(
        default=None,
        description="price of repeated tokens, in units of the objective for a run whose tokens are all wasted; needs "
        "target_tokens in the constraints",
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.minimise_worst:
            self._needs("minimise_worst", ("worst_by", "worst_in_spreads", "reference"))
        if self.not_worse is None:
            self._needs("not_worse", ("not_worse_each", "not_worse_than", "by_family"))
        return self

    def _needs(self, needed: str, fields: tuple[str, ...]) -> None:
        for name in fields:
            if getattr(self, name):
                raise ValueError(f"{name} says how {needed} is meant; give {needed} too")
