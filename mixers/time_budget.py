"""Which laws fit into the time that a comparison may take.

The price of a law is measured: one fit of a few targets without the first fold, times all targets and all fits.
Cheap laws are taken first, so that the most laws are compared.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mixers.laws.base import MixingLaw
from mixers.laws.cross_fit import CrossFit, Task, carry_out

_PROBED_TARGETS = 2


@dataclass(frozen=True)
class Affordable:
    """Names of the laws that are left out, and a sentence why."""

    left_out: dict[str, str]


def within_budget(cross: CrossFit, laws: Sequence[MixingLaw], combined: bool, seconds: float | None) -> Affordable:
    """Leave out the dearest of ``laws`` until the rest is expected to take ``seconds``; nothing for None.

    The cheapest law whose price is known is kept in any case: a comparison without a law says nothing.
    Fits that a pool makes side by side count as one after the other: the budget is kept with room to spare.
    """
    if seconds is None:
        return Affordable({})
    started = time.perf_counter()
    fits = _fits(cross, combined)
    prices: dict[str, float] = {}
    for law in laws:
        if prices and time.perf_counter() - started > seconds / 2:
            prices[law.name] = np.inf
            continue
        prices[law.name] = _price(cross, law) * fits
    left, left_out, taken = seconds - (time.perf_counter() - started), {}, False
    for name, price in sorted(prices.items(), key=lambda item: item[1]):
        if price <= left or (np.isfinite(price) and not taken):
            taken = True
            left -= price
        else:
            left_out[name] = _sentence(price, max(left, 0.0), seconds)
    return Affordable(left_out)


def _fits(cross: CrossFit, combined: bool) -> int:
    """How many fits one law takes, the last one to all runs among them."""
    lefts = set(cross.judging())
    transfers = [cross.transfer()]
    if combined:
        for f in range(cross.folds):
            lefts.update(cross.pairs(f))
            transfers.append(cross.transfer(f))
    return len(lefts) + sum(left is not None for left in transfers) + 1


def _price(cross: CrossFit, law: MixingLaw) -> float:
    """Seconds of one fit, from a fit of a few targets."""
    seen = cross.runs.rows(cross.fold != 0)
    probed = min(_PROBED_TARGETS, len(seen.targets))
    started = time.perf_counter()
    missing = np.isnan(seen.losses).sum(axis=0) / len(seen)
    columns = np.argsort(missing + (seen.targets.weights == 0), kind="stable")[:probed].tolist()
    asked = cross.runs.rows(cross.fold == 0)
    carry_out(Task(law, seen.of_targets(sorted(columns)), asked.of_targets(sorted(columns)), (0,)))
    return (time.perf_counter() - started) * len(seen.targets) / probed


def _sentence(price: float, left: float, seconds: float) -> str:
    if np.isinf(price):
        return f"left out: the time budget of {seconds:g} s was half spent before its price was known"
    return f"left out: it would take about {price:.0f} s and {left:.0f} s of the time budget of {seconds:g} s are left"
