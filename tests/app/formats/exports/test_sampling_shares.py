"""Token shares and the document shares that lead to them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.formats.exports.base import ExportError, Plan, PlanStage
from app.formats.exports.shares import document_shares, token_shares
from tests.app.formats.exports.sample_plans import domain, static_plan

LENGTHS = {"web": 800.0, "code": 2000.0, "books": 90_000.0}


def plan_with(weights: dict[str, float], lengths: dict[str, float | None]) -> Plan:
    return replace(static_plan(weights), domains=tuple(domain(name, 10**9, lengths[name]) for name in weights))


def test_drawing_documents_by_the_shares_gives_the_recommended_tokens() -> None:
    """Expected tokens of a draw, domain by domain, are q_i * len_i; their shares must be the weights."""
    weights = {"web": 0.55, "code": 0.3, "books": 0.15}
    (drawn,) = document_shares(plan_with(weights, {**LENGTHS})).by_stage
    tokens = np.array([drawn[name] * LENGTHS[name] for name in weights])
    assert sum(drawn.values()) == pytest.approx(1, abs=1e-15)
    assert tokens / tokens.sum() == pytest.approx(list(weights.values()), rel=1e-14)


def test_documents_of_one_length_leave_the_shares_as_they_are() -> None:
    weights = {"web": 0.5, "code": 0.25, "books": 0.25}
    shares = document_shares(plan_with(weights, dict.fromkeys(weights, 512.0)))
    assert shares.by_stage == (weights,)


def test_one_unknown_length_leaves_all_shares_and_warns_of_it() -> None:
    weights = {"web": 0.55, "code": 0.3, "books": 0.15}
    shares = document_shares(plan_with(weights, {**LENGTHS, "code": None}))
    assert shares.by_stage == (weights,)
    assert shares.note.startswith("WARNING: TOKEN SHARES ARE WRITTEN AS PER-DOCUMENT SHARES")
    assert 'not known for "code".' in shares.note


@pytest.mark.parametrize("length", [0.0, -3.0, float("nan"), float("inf")])
def test_a_length_that_no_document_has_is_refused(length: float) -> None:
    with pytest.raises(ExportError, match=r'mean_document_tokens of "web" is .*; it must be a number above 0'):
        document_shares(plan_with({"web": 1.0}, {"web": length}))


def test_weights_that_do_not_sum_to_1_are_refused() -> None:
    with pytest.raises(ExportError, match=r"sum to 0\.99 instead of 1"):
        token_shares(PlanStage(0, 10, {"web": 0.7, "code": 0.29}))


def test_a_sum_that_numpy_accepts_as_probabilities_passes() -> None:
    weights = {"web": 0.7, "code": 0.3 + 9e-9}
    np.random.default_rng(0).choice(2, p=list(weights.values()))
    assert token_shares(PlanStage(0, 10, weights)) == weights
