"""Realised weights stay within one sequence of the asked ones, whatever the weights and stages."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy_training.domain_schedule import AskedCounts, DomainSchedule
from proxy_training.spec import Stage

CONTEXT = 16
# Here the plain rule "always to the largest deficit" falls more than one sequence behind.
HARD = [[0.422, 0.401, 0.119, 0.048, 0.004, 0.003, 0.002, 0.001]]


def schedule(weights: list[list[float]], tokens: list[int]) -> tuple[DomainSchedule, np.ndarray]:
    """The schedule of stages of these weights and lengths, and all its sequences."""
    names = [f"d{j}" for j in range(len(weights[0]))]
    ends = np.cumsum([0, *tokens]).tolist()
    stages = []
    for row, start, end in zip(weights, ends, ends[1:], strict=False):
        p = np.array(row) / sum(row)
        stages.append(Stage(from_token=start, to_token=end, weights=dict(zip(names, p.tolist(), strict=True))))
    made = DomainSchedule(AskedCounts(stages, names, CONTEXT))
    return made, made.assign(0, ends[-1] // CONTEXT, np.zeros(len(names), dtype=np.int64))


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[list[float]], list[int]]:
    k, stages = draw(st.integers(1, 8)), draw(st.integers(1, 4))
    weight = st.one_of(st.just(0.0), st.floats(1e-4, 1.0))
    row = st.lists(weight, min_size=k, max_size=k).filter(lambda values: sum(values) > 0)
    weights = draw(st.lists(row, min_size=stages, max_size=stages))
    tokens = draw(st.lists(st.integers(1, 60 * CONTEXT), min_size=stages, max_size=stages))
    return weights, tokens


def integrated(weights: list[list[float]], tokens: list[int], sequences: int) -> np.ndarray:
    """Asked sequences of every domain among the first ``sequences``, token by token."""
    p = np.array([np.array(row) / sum(row) for row in weights])
    of_token = np.repeat(np.arange(len(tokens)), tokens)[: sequences * CONTEXT]
    return p[of_token].sum(axis=0) / CONTEXT


@given(problems())
@example((HARD, [4000 * CONTEXT]))
@settings(max_examples=60, deadline=None)
def test_no_domain_is_ever_a_whole_sequence_off(problem: tuple[list[list[float]], list[int]]) -> None:
    weights, tokens = problem
    _, chosen = schedule(weights, tokens)
    used = int((np.array(weights).sum(axis=0) > 0).sum())
    bound = 1 - 1 / (2 * used - 2) if used > 1 else 0.0  # Tijdeman 1980
    given_so_far = np.zeros(len(weights[0]))
    for n, j in enumerate(chosen, start=1):
        given_so_far[j] += 1
        if n <= 40 or n % 97 == 0 or n == len(chosen):
            off = np.abs(given_so_far - integrated(weights, tokens, n)).max()
            assert off <= bound + 1e-6, f"after {n} sequences"


@given(problems(), st.data())
@settings(max_examples=60, deadline=None)
def test_a_schedule_taken_up_in_the_middle_goes_on_as_it_would_have(
    problem: tuple[list[list[float]], list[int]], data: st.DataObject
) -> None:
    weights, tokens = problem
    made, whole = schedule(weights, tokens)
    cut = data.draw(st.integers(0, len(whole)))
    before = np.bincount(whole[:cut], minlength=len(weights[0]))
    assert made.assign(cut, len(whole), before).tolist() == whole[cut:].tolist()


def test_equal_weights_take_turns() -> None:
    _, chosen = schedule([[1, 1, 1]], [9 * CONTEXT])
    assert chosen.tolist() == [0, 1, 2] * 3


def test_whole_shares_are_met_exactly() -> None:
    _, chosen = schedule([[0.5, 0.3, 0.2]], [1000 * CONTEXT])
    assert np.bincount(chosen).tolist() == [500, 300, 200]


def test_a_domain_without_a_weight_is_never_taken() -> None:
    _, chosen = schedule([[0.7, 0.0, 0.3], [0.2, 0.0, 0.8]], [33 * CONTEXT + 5, 50 * CONTEXT])
    assert 1 not in chosen


def test_a_change_of_weights_takes_hold_at_the_sequence_it_falls_in() -> None:
    # 10.75 sequences of domain 0, then domain 1 alone: the 11th sequence is for 3/4 of its tokens domain 0's.
    _, chosen = schedule([[1, 0], [0, 1]], [10 * CONTEXT + 12, 5 * CONTEXT + 4])
    assert chosen.tolist() == [0] * 11 + [1] * 5


@pytest.mark.parametrize("tiny", [1e-12, 1e-300, 5e-324])
def test_a_weight_too_small_for_one_sequence_gets_none(tiny: float) -> None:
    _, chosen = schedule([[1.0, tiny]], [500 * CONTEXT])
    assert set(chosen.tolist()) == {0}
