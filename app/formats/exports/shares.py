"""The shares by which a trainer samples: of tokens, or of documents.

Weights of a plan are token shares ``t_i``. A trainer that draws whole documents, of ``len_i`` tokens on average, meets
them when it draws domain i with probability ``(t_i / len_i) / sum_j (t_j / len_j)``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from app.formats.exports.base import ExportError, Plan, PlanStage
from app.formats.exports.header import quoted

# numpy's choice, which several trainers draw with, refuses probabilities that miss 1 by more than 1.5e-8.
SUM_TOLERANCE = 1e-8


def token_shares(stage: PlanStage) -> dict[str, float]:
    """The weights of a stage as they are.

    Raises:
        ExportError: a weight is not a positive number, or they do not sum to 1.
    """
    weights = dict(stage.weights)
    for name, weight in weights.items():
        if not (math.isfinite(weight) and weight > 0):
            raise ExportError(f"the weight of {quoted(name)} is {weight!r}; trainers take finite weights above 0")
    total = math.fsum(weights.values())
    if abs(total - 1) > SUM_TOLERANCE:
        raise ExportError(f"the weights of the stage from token {stage.from_token} sum to {total!r} instead of 1")
    return weights


@dataclass(frozen=True)
class DocumentShares:
    """How to draw documents.

    Attributes:
        by_stage: probabilities of each stage, in the order of the plan.
        note: what was converted, or a warning that nothing could be.
    """

    by_stage: tuple[dict[str, float], ...]
    note: str


def document_shares(plan: Plan) -> DocumentShares:
    """Probabilities for a trainer that draws documents.

    Where the mean length of some domain is unknown, every stage keeps its token shares, and the note warns of it: half
    a conversion would be wrong for all domains.

    Raises:
        ExportError: a mean length that is not a positive number, or weights that :func:`token_shares` refuses.
    """
    shares = tuple(token_shares(stage) for stage in plan.stages)
    lengths = {domain.name: domain.mean_document_tokens for domain in plan.domains}
    unknown = [quoted(name) for name, length in lengths.items() if length is None]
    if unknown:
        return DocumentShares(shares, _warning(unknown))
    known = {name: _length(name, length) for name, length in lengths.items() if length is not None}
    told = ", ".join(f"{quoted(name)} {length!r}" for name, length in known.items())
    return DocumentShares(
        tuple(_per_document(weights, known) for weights in shares),
        "Token shares were converted to document shares: each was divided by the mean tokens of its domain's documents "
        f"({told}), then normalised.",
    )


def _warning(unknown: list[str]) -> str:
    return (
        "WARNING: TOKEN SHARES ARE WRITTEN AS PER-DOCUMENT SHARES, because the mean document length is not known for "
        f"{', '.join(unknown)}. This trainer draws documents, so domains with long documents get more tokens than "
        "recommended. Give mean_document_tokens for every domain, or feed sequences of equal length."
    )


def _length(name: str, length: float) -> float:
    if not (math.isfinite(length) and length > 0):
        raise ExportError(f"mean_document_tokens of {quoted(name)} is {length!r}; it must be a number above 0")
    return length


def _per_document(weights: Mapping[str, float], lengths: Mapping[str, float]) -> dict[str, float]:
    documents = {name: weight / lengths[name] for name, weight in weights.items()}
    total = math.fsum(documents.values())
    return {name: count / total for name, count in documents.items()}
