"""Rows that stand for all of a large table."""

import numpy as np

from mixers.row_subsets import rows_for_targets, spread_rows

SCALES = np.tile(np.stack([np.zeros(10), np.arange(10.0)], axis=1), (40, 1))
MIXTURE = np.repeat(np.arange(40), 10)


def test_a_subset_of_rows_meets_every_mixture_and_every_scale():
    rows = spread_rows(SCALES, MIXTURE, 60)
    assert len(set(rows.tolist())) == 60
    assert np.bincount(MIXTURE[rows], minlength=40).min() == 1
    assert np.bincount(SCALES[rows, 1].astype(int), minlength=10).min() >= 3
    assert spread_rows(SCALES, MIXTURE, 400).tolist() == list(range(400))
    assert len(spread_rows(SCALES, MIXTURE, 15)) == 15


def test_a_target_measured_seldom_keeps_its_rows():
    measured = np.ones((400, 3), dtype=bool)
    measured[12:, 1] = False
    measured[:300, 2] = False
    rows = rows_for_targets(SCALES, MIXTURE, measured, 60, 20)
    assert set(range(12)) <= set(rows.tolist())
    assert measured[rows, 2].sum() == 20
    assert set(spread_rows(SCALES, MIXTURE, 60).tolist()) <= set(rows.tolist())
    assert rows.tolist() == sorted(set(rows.tolist()))
