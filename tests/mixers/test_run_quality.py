"""Runs that diverged, noise between repeats, learning curves, time budgets, and the smaller measures of agreement."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import pearsonr

from mixers.agreement import pearson_within, regret_within, relative_error
from mixers.errors import InvalidInput
from mixers.fidelity import compare, fit_calibrated
from mixers.learning_curve import learning_curve
from mixers.noise_floor import noise_floor
from mixers.outliers import without_diverged
from mixers.types import Scale
from tests.mixers import planted


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def spoil(runs, row: int, value: float):
    losses = runs.losses.copy()
    losses[row] = value
    return replace(runs, losses=losses)


def test_a_diverged_run_is_named_and_does_not_bend_any_law():
    runs = planted.swarm(60)
    laws = ["regmix_linear", "log_linear", "regmix_lightgbm"]
    healthy, spoiled = compare(runs, laws, rng()), compare(spoil(runs, 9, 1e4), laws, rng())
    assert {outlier.run_id for outlier in spoiled.diverged} == {"9"}
    assert len(spoiled.diverged) == len(runs.targets)
    here = Scale(np.float64(1e6), np.float64(1e9))
    for law in laws:
        before = fit_calibrated(healthy.report(law), healthy.runs, rng()).predict(runs.p, here).mean
        after = fit_calibrated(spoiled.report(law), spoiled.runs, rng()).predict(runs.p, here).mean
        assert np.abs(before - after).mean() < 0.1 * runs.losses.std()


@pytest.mark.parametrize("value", [1.7e308, -1e300])
def test_a_loss_as_large_as_numbers_go_is_left_out_quietly(value):
    runs = planted.swarm(60)
    kept, found = without_diverged(spoil(runs, 9, value))
    assert {outlier.run_id for outlier in found} == {"9"}
    assert np.isnan(kept.losses[9]).all()


def test_a_run_that_every_law_misses_is_suspect_but_stays():
    runs = planted.swarm(80)
    odd = runs.losses.copy()
    odd[5] += 1.0
    comparison = compare(replace(runs, losses=odd), ["log_linear", "regmix_linear", "bimix"], rng())
    assert "5" in {outlier.run_id for outlier in comparison.suspects}
    assert comparison.diverged == ()
    assert not np.isnan(comparison.runs.losses).any()


@pytest.mark.parametrize("seed", range(4))
def test_healthy_runs_are_not_called_diverged(seed):
    runs = planted.swarm(60, seed=seed)
    assert without_diverged(runs) == (runs, ())
    assert compare(runs, ["log_linear"], rng()).suspects == ()


def test_public_runs_are_not_called_diverged(public_table):
    from app.formats.swarm_folder import read_swarm

    for name in ("regmix_pile", "olmix_reuse", "mixinglaws_pile3", "slimpajama_nd"):
        assert without_diverged(read_swarm(public_table(name)).runs)[1] == ()


def test_the_noise_floor_is_the_deviation_between_repeats():
    random = rng()
    many = planted.repeated(planted.swarm(200, t=2, noise=0.0), 3)
    floor = noise_floor(replace(many, losses=many.losses + random.normal(0, [0.05, 0.2], many.losses.shape)))
    assert floor.freedom.tolist() == [400, 400]
    # The standard error of a deviation with 400 degrees of freedom is 1 / sqrt(800) = 3.5 % of it: four of them.
    assert floor.std == pytest.approx([0.05, 0.2], rel=0.14)
    assert floor.objective_std == pytest.approx(np.hypot(0.05, 0.2) / 2, rel=0.14)


def test_without_repeats_the_noise_floor_is_not_known():
    floor = noise_floor(planted.swarm(30))
    assert not floor.known
    assert np.isnan(floor.std).all()
    checkpoints = replace(planted.repeated(planted.swarm(30), 2), train_tokens=np.tile([1e9, 2e9], 30))
    assert not noise_floor(checkpoints).known


def test_more_runs_predict_better():
    points = learning_curve(planted.swarm(160, noise=0.02), "log_linear", rng(), sizes=[6, 30, 120])
    assert [point.mixtures for point in points] == [6, 30, 120]
    assert points[0].mae > 1.5 * points[2].mae
    assert points[2].spearman > 0.98


def test_a_learning_curve_says_where_a_law_cannot_be_fitted():
    points = learning_curve(planted.swarm(80), "regmix_lightgbm", rng(), sizes=[10, 60])
    assert "needs at least 40" in str(points[0].problem)
    assert np.isfinite(points[1].spearman)
    with pytest.raises(InvalidInput, match=r"2 \.\. 64 mixtures"):
        learning_curve(planted.swarm(80), "mean", rng(), sizes=[70])


def test_a_budget_of_time_leaves_the_dearest_laws_out_and_says_so():
    laws = ["mean", "log_linear", "regmix_lightgbm"]
    least = compare(planted.swarm(60), laws, rng(), seconds=1e-6)
    assert [report.law for report in least.reports if report.skipped is None] == ["mean"]  # one law is always judged
    assert all("left out" in str(least.report(law).skipped) for law in laws[1:])
    plenty = compare(planted.swarm(60), laws, rng(), seconds=600)
    assert all(report.skipped is None for report in plenty.reports)


def test_pearson_inside_of_groups_is_scipys_for_one_group():
    a, b = rng(1).normal(size=(2, 30))
    assert pearson_within(a, b, np.zeros(30, dtype=np.int64)) == pytest.approx(pearsonr(a, b).statistic)
    group = np.arange(30) % 2
    assert pearson_within(a + 100 * group, b + 100 * group, group) == pytest.approx(
        (pearsonr(a[::2], b[::2]).statistic + pearsonr(a[1::2], b[1::2]).statistic) / 2
    )


def test_regret_is_the_loss_above_the_best_run_of_each_scale():
    y, guess = np.array([3.0, 1.0, 2.0, 10.0, 20.0]), np.array([5.0, 2.0, 1.0, 1.0, 2.0])
    group = np.array([0, 0, 0, 1, 1])
    picked, random = regret_within(y, guess, group)
    assert picked == pytest.approx((3 * (2 - 1) + 2 * 0) / 5)
    assert random == pytest.approx((3 * (2 - 1) + 2 * 5) / 5)
    assert relative_error(np.array([2.0, -4.0]), np.array([1.0, -3.0])) == pytest.approx((0.5 + 0.25) / 2)
