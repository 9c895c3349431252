"""A keyed permutation is a bijection, is uniform over keys, and never changes between versions."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from proxy_training.permutation import Permutation


@given(size=st.integers(1, 1000), key=st.text(max_size=20))
@settings(max_examples=50, deadline=None)
def test_every_thing_stands_at_exactly_one_place(size: int, key: str) -> None:
    assert sorted(Permutation(size, key)(np.arange(size)).tolist()) == list(range(size))


@given(size=st.integers(1, 2**40), places=st.lists(st.integers(0, 2**40), min_size=1, max_size=30))
@settings(max_examples=30, deadline=None)
def test_one_place_at_a_time_gives_the_same_order_in_any_domain_size(size: int, places: list[int]) -> None:
    order, at = Permutation(size, "k"), np.array(places) % size
    values = order(at)
    assert values.tolist() == [int(order(np.array([place]))[0]) for place in at]
    assert values.min() >= 0
    assert values.max() < size
    assert len(set(values.tolist())) == len(set(at.tolist()))


@pytest.mark.parametrize("size", [3, 4])
def test_all_orders_of_a_few_things_are_equally_likely(size: int) -> None:
    orders = list(permutations(range(size)))
    draws = 100 * len(orders)
    seen = Counter(tuple(Permutation(size, f"{i}")(np.arange(size)).tolist()) for i in range(draws))
    # Fixed keys: the statistic is one number. It would pass 1e-4 for all but 1 in 10,000 truly uniform generators.
    assert stats.chisquare([seen[order] for order in orders]).pvalue > 1e-4


def test_neighbours_of_a_large_domain_are_scattered_like_draws_without_order() -> None:
    size = 1_000_003
    values = Permutation(size, "scatter")(np.arange(20_000)) / size
    assert stats.kstest(values, "uniform").pvalue > 1e-4
    # The correlation of neighbours has a standard deviation of 1 / sqrt(20,000); 5 of them are a 6e-7 false alarm.
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 5 / np.sqrt(20_000)


def test_keys_give_orders_that_have_nothing_to_do_with_each_other() -> None:
    places = np.arange(50_000)
    one, other = Permutation(len(places), "0/0/web")(places), Permutation(len(places), "0/1/web")(places)
    # The number of agreements of two random orders is Poisson with mean 1; 12 or more has probability 8e-10.
    assert (one == other).sum() < 12


def test_the_order_is_the_one_that_earlier_runs_were_made_with() -> None:
    # Results of runs are compared across versions and machines: a change here makes old runs another experiment.
    assert Permutation(10, "0/0/web")(np.arange(10)).tolist() == [9, 5, 6, 4, 1, 3, 7, 0, 2, 8]
