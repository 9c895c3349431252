"""What every export format is given and returns.

A :class:`Plan` is a recommendation made ready for a trainer: stages of weights without zeros, the paths of each domain,
the epochs that the weights imply, and where it all came from. A format turns it into files, and knows nothing of
databases or HTTP. Weights are token shares unless a format says otherwise; they are printed with ``repr`` precision.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar


class ExportError(ValueError):
    """The plan cannot be written in this format; the message says why and what would help."""


@dataclass(frozen=True)
class ExportDomain:
    """A domain as a trainer must know it.

    Attributes:
        paths: where the trainer finds it; empty when no binding names any.
        available_tokens: None when unknown.
        mean_document_tokens: for trainers that sample documents; None when unknown.
    """

    name: str
    paths: tuple[str, ...] = ()
    available_tokens: int | None = None
    mean_document_tokens: float | None = None


@dataclass(frozen=True)
class PlanStage:
    """Weights (domain -> share of the stage's tokens, all > 0, sum 1) from one token of the run to another."""

    from_token: int
    to_token: int
    weights: Mapping[str, float]

    @property
    def tokens(self) -> int:
        return self.to_token - self.from_token


@dataclass(frozen=True)
class Plan:
    """What is to be written.

    Attributes:
        domains: every domain that has weight in some stage, in the order of the domain set.
        stages: at least one, in order and without gaps.
        dropped: domains that no stage uses, or whose share was 0 in a stage.
        provenance: header lines, key -> value: study, recommendation, law, hash of the runs, date.
        options: what the caller set for this export; a format names those that it takes.
    """

    domains: tuple[ExportDomain, ...]
    stages: tuple[PlanStage, ...]
    dropped: tuple[str, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def total_tokens(self) -> int:
        return self.stages[-1].to_token - self.stages[0].from_token

    def epochs(self) -> dict[str, float | None]:
        """Passes over each domain that the stages imply: ``sum_s p_s T_s / N``; None where N is unknown."""
        return {domain.name: self._passes(domain, self.stages) for domain in self.domains}

    def stage_epochs(self, stage: PlanStage) -> dict[str, float | None]:
        """Passes over each domain of one stage alone: ``p_s T_s / N``; None where N is unknown."""
        return {domain.name: self._passes(domain, (stage,)) for domain in self.domains if domain.name in stage.weights}

    @staticmethod
    def _passes(domain: ExportDomain, stages: tuple[PlanStage, ...]) -> float | None:
        if domain.available_tokens is None:
            return None
        return sum(stage.weights.get(domain.name, 0.0) * stage.tokens for stage in stages) / domain.available_tokens


@dataclass(frozen=True)
class ExportedFile:
    """One text file of an export."""

    name: str
    text: str


@dataclass(frozen=True)
class Export:
    """The files, and what the person who uses them must know: weight unit, exhaustion, resuming, anything adjusted."""

    files: tuple[ExportedFile, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Option:
    """A setting that a format takes.

    Attributes:
        default: None for one that must be given.
        about: what it means.
        kind: the type of its value; that of the default unless it is said.
    """

    default: Any
    about: str
    kind: type[bool] | type[int] | type[float] | type[str] | None = None


class ExportFormat(ABC):
    """One foreign format: a file of this package and a line in its registry."""

    name: ClassVar[str]  # as in the address, e.g. "megatron-blend"
    title: ClassVar[str]  # one sentence for people
    trainer: ClassVar[str]  # whose bindings give the paths, e.g. "megatron"; "" when it needs none
    options: ClassVar[Mapping[str, Option]] = {}

    @abstractmethod
    def render(self, plan: Plan) -> Export:
        """The files of ``plan``.

        Raises:
            ExportError: a domain without a path, an option that is missing or wrong, a weight the trainer cannot hold.
        """


def require_paths(plan: Plan, trainer: str) -> None:
    """Refuse a plan in which a domain has no path.

    Raises:
        ExportError: naming the domains and how to bind them.
    """
    missing = [domain.name for domain in plan.domains if not domain.paths]
    if missing:
        raise ExportError(
            f"no path is bound for {_listed(missing)}; bind the domains for trainer {trainer!r} first: "
            f"mixwright study bind STUDY {trainer} FILE.csv, or PUT /v1/domain-sets/{{id}}/bindings/{trainer}, "
            f"or without a server the column 'path' of domains.csv"
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
