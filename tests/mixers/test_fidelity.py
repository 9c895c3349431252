"""Folds that do not leak, measures against SciPy and closed forms, a choice that is right on planted data."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from mixers.agreement import r2_within, spearman_within
from mixers.errors import InvalidInput
from mixers.fidelity import compare, fit_calibrated
from mixers.folds import fold_by_mixture
from mixers.laws.calibrated import Z90, conformal_factor, error_correlation
from mixers.laws.cross_fit import CrossFit
from mixers.types import Observations, Scale
from tests.mixers import planted


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_no_mixture_stands_on_both_sides_of_a_fold():
    base = planted.swarm(20)
    p, losses = np.concatenate([base.p, base.p]), np.concatenate([base.losses, base.losses])
    # Half of the repeats are marked by mix_id, the other half only by equal weights.
    ids = tuple(f"m{i}" for i in range(20)) + tuple(f"m{i}" if i % 2 else f"again{i}" for i in range(20))
    runs = Observations(base.domains, base.targets, p, losses, mix_ids=ids)
    fold = fold_by_mixture(runs, 5, rng())
    assert (fold[:20] == fold[20:]).all()
    assert np.bincount(fold).tolist() == [8] * 5


def test_spearman_is_scipys_inside_one_scale_and_ignores_the_gap_between_scales():
    random = np.random.default_rng(1)
    y, guess = random.normal(size=30), random.normal(size=30)
    one = np.zeros(30, dtype=np.int64)
    assert spearman_within(y, guess, one) == pytest.approx(spearmanr(y, guess).statistic)
    two = np.concatenate([one, one + 1])
    pooled = np.concatenate([y, y + 100]), np.concatenate([guess, guess + 100])
    assert spearman_within(*pooled, two) == pytest.approx(spearmanr(y, guess).statistic)
    assert spearmanr(*pooled).statistic > 0.7  # what a pooled rank would claim


def test_a_constant_prediction_ranks_nothing():
    assert spearman_within(np.arange(5.0), np.full(5, 0.1 + 0.2), np.zeros(5, dtype=np.int64)) == 0.0


def test_r2_is_one_for_truth_and_zero_for_the_mean_of_each_scale():
    y, group = np.array([1.0, 2.0, 11.0, 13.0]), np.array([0, 0, 1, 1])
    assert r2_within(y, y, group) == 1.0
    assert r2_within(y, np.array([1.5, 1.5, 12.0, 12.0]), group) == 0.0
    assert np.isnan(r2_within(np.ones(4), y, group))


def test_every_run_is_predicted_by_a_law_that_has_not_seen_it():
    base = planted.swarm(40, noise=0.0)
    spoiled = base.losses.copy()
    spoiled[0] += 5.0
    runs = Observations(base.domains, base.targets, base.p, spoiled)
    report = compare(runs, ["log_linear"], rng()).report("log_linear")
    assert report.out_of_fold is not None
    assert np.abs(report.out_of_fold.mean[0] - base.losses[0]).max() < 0.5


def test_the_planted_law_is_chosen_and_the_mean_never_beats_it():
    other_families = ["mean", "regmix_linear", "regmix_lightgbm", "bimix", "bimix_multi"]
    comparison = compare(planted.swarm(60), [*other_families, "log_linear"], rng())
    assert comparison.choice == "log_linear"
    best, mean = comparison.report("log_linear"), comparison.report("mean")
    assert best.objective.r2 > 0.98
    assert mean.objective.r2 < 0.05
    assert best.objective.mae < mean.objective.mae / 5


def test_pure_noise_is_called_noise():
    random = np.random.default_rng(2)
    runs = planted.observe(planted.mixtures(50, 4, random), 3 + random.normal(size=(50, 2)))
    assert "do not act on it" in compare(runs, ["regmix_linear", "log_linear"], rng()).reason


def checkpoints(ends: int, on_the_way: bool = True) -> Observations:
    """Runs of one size that end at 4e6 tokens, after the first ``ends`` at 1e6; those were measured there too."""
    base = planted.swarm(40)
    late = np.arange(ends, 40)
    early = np.arange(ends) if not on_the_way else np.arange(40)
    index = np.concatenate([early, late])
    tokens = np.concatenate([np.full(len(early), 1e6), np.full(len(late), 4e6)])
    names = tuple(f"{i}@{at:.0f}" for i, at in zip(index, tokens, strict=True))
    losses = base.losses[index] + (tokens[:, None] / 1e6) ** -0.5
    return Observations(
        base.domains,
        base.targets,
        base.p[index],
        losses,
        np.full(len(index), 1e6),
        tokens,
        names,
        (),
        tuple(map(str, index)),
    )


def test_the_largest_scale_is_predicted_without_what_its_runs_measured_on_the_way():
    runs = checkpoints(ends=15)
    cross = CrossFit(runs, fold_by_mixture(runs, 5, rng()), 0)
    left = cross.transfer()
    assert left is not None
    seen = runs.rows(~cross.rows_left_out(left))
    assert set(seen.of_run) == {str(i) for i in range(15)}
    assert cross.largest.sum() == 25
    # Where every run reaches the largest scale, there is nothing to predict it from.
    alone = checkpoints(ends=0)
    assert CrossFit(alone, fold_by_mixture(alone, 5, rng()), 0).transfer() is None
    report = compare(runs, ["log_linear"], rng()).report("log_linear")
    assert report.transfer == pytest.approx(compare(checkpoints(15, False), ["log_linear"], rng()).reports[0].transfer)
    assert np.isnan(compare(alone, ["log_linear"], rng()).report("log_linear").transfer)


def test_checkpoints_do_not_stand_for_the_runs_that_a_law_needs():
    few = checkpoints(ends=0)
    few = few.rows(np.flatnonzero(np.isin(few.of_run, ["0", "1", "2"])))
    assert len(few) == 6
    assert "has 2" in str(compare(few, ["mean", "additive_scaling"], rng()).report("additive_scaling").skipped)


def test_a_law_that_cannot_be_fitted_is_skipped_with_its_reason():
    comparison = compare(planted.swarm(20), ["mean", "regmix_lightgbm"], rng())
    assert "needs at least 40 measured runs" in str(comparison.report("regmix_lightgbm").skipped)
    assert comparison.choice == "mean"


def test_calibrated_intervals_cover_new_runs():
    runs = planted.swarm(120, noise=0.05)
    report = compare(runs, ["log_linear"], rng()).report("log_linear")
    fitted = fit_calibrated(report, runs, rng())
    random = np.random.default_rng(0)  # the same planted law: the generator of `swarm` starts from this seed
    planted.mixtures(120, 4, random)
    state = random.bit_generator.state
    queries = planted.mixtures(4000, 4, np.random.default_rng(99))
    random.bit_generator.state = state
    truth, *_ = planted.log_linear(queries, 3, random)
    new = truth + np.random.default_rng(98).normal(0, 0.05, truth.shape)
    prediction = fitted.predict(queries, Scale(np.float64(1e6), np.float64(1e9)))
    covered = (np.abs(new - prediction.mean) <= Z90 * prediction.std).mean(axis=0)
    # The quantile of 120 residuals has a standard error of .027 in coverage: 4 of them.
    assert (np.abs(covered - 0.9) < 0.11).all()
    assert 0.85 <= report.coverage90 <= 0.97


def test_the_conformal_factor_of_normal_residuals_is_one():
    z = np.random.default_rng(3).normal(size=(20_000, 1))
    # Standard error of a 90 % quantile: sqrt(.09 / n) / density(1.645) = .0206, over 1.645: .0125; times 5.
    assert conformal_factor(z, 20_000)[0] == pytest.approx(1.0, abs=0.0625)
    assert conformal_factor(np.array([[1.0], [2.0]]), 2)[0] == 1.0


def test_few_mixtures_share_the_calibration_of_their_targets():
    z = np.random.default_rng(3).normal(size=(5000, 2)) * np.array([1.0, 4.0])
    many, few = conformal_factor(z, 10**9), conformal_factor(z, 5)
    assert many == pytest.approx([1.0, 4.0], rel=0.1)
    assert many[0] < few[0] < few[1] < many[1]


def test_error_correlation_is_numpys_for_centred_residuals():
    z = np.random.default_rng(4).normal(size=(500, 3))
    z = z - z.mean(axis=0)
    z[:, 2] = z[:, 0]
    assert np.allclose(error_correlation(z), np.corrcoef(z.T), atol=1e-6)


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        (planted.observe(np.empty((0, 3)), np.empty((0, 1))), "there are no runs"),
        (planted.observe(np.full((4, 2), 0.5), np.ones((4, 1))), "all 4 runs have the same mixture"),
        (planted.observe(np.eye(3), np.full((3, 1), np.nan)), "target 't0' was measured in none of 3 runs"),
        (
            planted.observe(np.eye(6), np.column_stack([np.arange(6.0), [1.0, 2.0, 3.0, *[np.nan] * 3]])),
            "target 't1' was measured in 3 of 6 runs, too few to judge any law by",
        ),
    ],
)
def test_runs_that_teach_nothing_are_refused(runs, message):
    with pytest.raises(InvalidInput, match=message):
        compare(runs, ["mean"], rng())


def test_progress_runs_from_zero_to_one():
    seen: list[float] = []
    compare(planted.swarm(20), ["mean", "regmix_linear"], rng(), on_progress=lambda part, name: seen.append(part))
    assert seen[0] == 0.0
    assert seen[-1] == 1.0
    assert seen == sorted(seen)
