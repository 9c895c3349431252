"""Fewer rows that stand for all, for laws whose fit would cost too much on every row. Deterministic."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int


def spread_rows(
    log_scale: Float[np.ndarray, "n 2"], mixture: Int[np.ndarray, " n"], most: int
) -> Int[np.ndarray, " m"]:
    """At most ``most`` rows, ascending: as equally many of each mixture as can be, and spread evenly over its scales.

    Each mixture starts at another place of its scales, so that all are met even where one row of a mixture is taken.
    """
    if len(mixture) <= most:
        return np.arange(len(mixture))
    order = np.lexsort((log_scale[:, 1], log_scale[:, 0], mixture))
    groups = np.split(order, np.flatnonzero(np.diff(mixture[order])) + 1)
    if len(groups) > most:
        groups = [groups[i] for i in np.linspace(0, len(groups) - 1, most).astype(int)]
    golden = (np.sqrt(5) - 1) / 2
    chosen = []
    for i, count in enumerate(_equal_quota(np.array([len(group) for group in groups]), most)):
        place = (np.arange(count) + (i * golden) % 1.0) / count
        chosen.append(groups[i][(place * len(groups[i])).astype(int)])
    return np.sort(np.concatenate(chosen))


def rows_for_targets(
    log_scale: Float[np.ndarray, "n 2"],
    mixture: Int[np.ndarray, " n"],
    measured: Bool[np.ndarray, "n t"],
    most: int,
    least: int,
) -> Int[np.ndarray, " m"]:
    """:func:`spread_rows` of all rows, and more of those of a target that was measured in fewer than ``least`` of
    them, up to that many; ascending. With targets that are measured seldom the rows may be more than ``most``."""
    chosen = np.zeros(len(mixture), dtype=bool)
    chosen[spread_rows(log_scale, mixture, most)] = True
    for column in measured.T:
        missing = least - int((chosen & column).sum())
        rest = np.flatnonzero(column & ~chosen)
        if missing > 0 and len(rest):
            chosen[rest[spread_rows(log_scale[rest], mixture[rest], missing)]] = True
    return np.flatnonzero(chosen)


def _equal_quota(sizes: np.ndarray, most: int) -> np.ndarray:
    """The largest equal quota, cut to each size, whose sum is at most ``most``; some of the rest get one more."""
    low, high = 1, int(sizes.max())
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.minimum(sizes, middle).sum() <= most else (low, middle - 1)
    quota = np.minimum(sizes, low)
    rest, larger = most - int(quota.sum()), np.flatnonzero(sizes > low)
    if rest and len(larger):
        quota[larger[np.linspace(0, len(larger) - 1, min(rest, len(larger))).astype(int)]] += 1
    return quota
