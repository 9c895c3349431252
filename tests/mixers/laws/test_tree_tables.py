"""Trees read as tables fall into the very leaves that LightGBM finds, on and beside every threshold."""

import lightgbm
import numpy as np
import pytest

from mixers.errors import InvalidInput
from mixers.laws.regmix_lightgbm import RegMixLightGBM
from mixers.laws.tree_tables import WORTH_ROWS, TreeTables
from mixers.types import Scale
from tests.mixers import planted

SCALE = Scale(np.float64(1e6), np.float64(1e9))


def train(p: np.ndarray, y: np.ndarray, trees: int = 60, **changes) -> lightgbm.Booster:
    parameters = {"objective": "regression", "learning_rate": 0.1, "num_threads": 1, "verbosity": -1} | changes
    return lightgbm.train(parameters, lightgbm.Dataset(p, y), num_boost_round=trees)


def sparse_swarm(n: int = 900, k: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Mixtures with many zeros, and a rough function of them: full-grown trees."""
    rng = np.random.default_rng(0)
    p = planted.mixtures(n, k, rng, concentration=0.1)
    p[p < 1e-3] = 0.0
    p /= p.sum(axis=1, keepdims=True)
    return p, np.sin(9 * p).sum(axis=1) + 0.1 * rng.normal(size=n)


def same(booster: lightgbm.Booster, rows: np.ndarray) -> bool:
    ours = TreeTables.of(booster.model_to_string()).predict(rows)
    return np.allclose(ours, np.asarray(booster.predict(rows, num_threads=1)), rtol=1e-12, atol=1e-13)


def test_predictions_are_lightgbms():
    p, y = sparse_swarm()
    booster = train(p, y)
    assert max(tree["num_leaves"] for tree in booster.dump_model()["tree_info"]) == 31
    assert same(booster, p)
    assert same(booster, planted.mixtures(3001, 6, np.random.default_rng(1)))


def test_values_on_and_just_beside_every_threshold_go_lightgbms_way():
    p, y = sparse_swarm()
    booster = train(p, y)
    for j, edges in enumerate(TreeTables.of(booster.model_to_string()).edges):
        assert len(edges) > 20
        for side in (edges, np.nextafter(edges, -1), np.nextafter(edges, 2)):
            rows = np.tile(p[5], (len(edges), 1))
            rows[:, j] = side
            assert same(booster, rows)


def test_values_that_lightgbm_takes_for_zero_are_zero():
    p, y = sparse_swarm()
    rows = np.repeat(p[:1], 5, axis=0)
    rows[:, 0] = [0.0, -0.0, 1e-36, float(np.float32(1e-35)), 1e-34]
    assert same(train(p, y), rows)


def test_features_without_a_split_and_trees_without_a_split_are_read():
    p, y = sparse_swarm()
    p[:, 2] = 0.0
    assert same(train(p, y), p)
    assert same(train(p, np.full(len(p), 3.5)), p)


def test_trees_that_the_tables_cannot_hold_are_refused():
    p, y = sparse_swarm()
    with pytest.raises(InvalidInput, match="up to 32"):
        TreeTables.of(train(p, y, 2, num_leaves=60, min_data_in_leaf=2).model_to_string())
    with pytest.raises(InvalidInput, match="zero as missing"):
        TreeTables.of(train(p, y, 2, zero_as_missing=True).model_to_string())


def test_many_mixtures_and_few_are_predicted_alike():
    runs = planted.swarm(80, t=2)
    fitted = RegMixLightGBM(trees=50).fit(runs, np.random.default_rng(0))
    p = planted.mixtures(WORTH_ROWS, 4, np.random.default_rng(2))
    many = fitted.predict(p, SCALE).mean
    few = np.concatenate([fitted.predict(part, SCALE).mean for part in np.array_split(p, 2)])
    assert np.allclose(many, few, rtol=1e-12)
