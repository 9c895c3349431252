"""The exponential law with all its constants and its sum over hidden domains: planted, degenerate and published cases.

The published figures are those of the notebook for five domains of github.com/yegcjs/mixinglaws (arXiv 2403.16952).
"""

from dataclasses import replace

import numpy as np
import pytest

from app.formats.swarm_folder import read_swarm
from app.formats.weight_columns import SumTolerance
from mixers.laws.data_mixing_law import DataMixingLaw, FittedDataMixingLaw
from mixers.laws.exponential_sum import fit_exponential_sum, held_out_loss
from mixers.laws.implicit_domains import ImplicitDomains
from mixers.laws.log_linear import LogLinear
from mixers.types import Observations, Scale
from tests.mixers import planted

SCALE = Scale.unknown()

GROUPS = {
    "academic": "ArXiv PubMed_Abstracts PhilPapers NIH_ExPorter FreeLaw USPTO_Backgrounds PubMed_Central",
    "prose": "PG19 Books3 BookCorpus2",
    "dialogue": "Ubuntu_IRC OpenSubtitles EuroParl Enron_Emails HackerNews YoutubeSubtitles",
    "symbolic": "DM_Mathematics Github",
    "internet": "Pile-CC OpenWebText2 StackExchange Wikipedia_en",
}


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def fit(runs: Observations) -> FittedDataMixingLaw:
    return DataMixingLaw().fit(runs, rng())


def two_hidden_domains(p: np.ndarray) -> np.ndarray:
    """A loss over two hidden domains that real domains serve very differently; shape (n, 1)."""
    first, second = np.array([-6.0, 2.0, 2.0, 2.0]), np.array([2.0, 2.0, -6.0, 2.0])
    return (2 + 0.4 * np.exp(p @ first) + 0.3 * np.exp(p @ second))[:, None]


def test_planted_constants_are_recovered_in_the_fixed_gauge():
    random = np.random.default_rng(3)
    p = planted.mixtures(200, 4, random)
    losses, c, a, b = planted.log_linear(p, 3, random)  # rows of b have mean 0, so that k = exp(a)
    fitted = fit(planted.observe(p, losses))
    assert np.allclose(fitted.c, c, atol=0.01)
    assert np.allclose(fitted.k[:, 0], np.exp(a), atol=0.01)
    assert np.allclose(fitted.t[:, 0], b, atol=0.02)
    assert np.abs(fitted.predict(p, SCALE).mean - losses).max() < 1e-3


def test_the_gauge_changes_no_prediction_and_is_fixed_by_a_mean_of_zero():
    runs = planted.swarm()
    fitted = fit(runs)
    assert np.abs(fitted.t.mean(axis=2)).max() < 1e-12
    moved = replace(fitted, t=fitted.t + 1.7, k=fitted.k * np.exp(-1.7))
    assert np.allclose(moved.predict(runs.p, SCALE).mean, fitted.predict(runs.p, SCALE).mean, rtol=1e-13)


def test_a_domain_that_hardly_varied_keeps_a_slope_near_zero():
    random = np.random.default_rng(5)
    p = np.insert(planted.mixtures(40, 3, random), 1, 0.0, axis=1)
    p[0] = [0.5, 0.005, 0.3, 0.195]
    losses = (2 + np.exp(p @ np.array([-2.0, 0.0, 1.0, 1.0])) + random.normal(0, 0.01, 40))[:, None]
    fitted = fit(planted.observe(p, losses))
    assert abs(fitted.t[0, 0, 1] - fitted.t[0, 0].mean()) < 0.5
    assert fitted.t[0, 0, 0] == pytest.approx(-2.0, abs=0.4)


def test_few_sparse_runs_of_noise_do_not_explode():
    random = np.random.default_rng(4)
    p = planted.mixtures(20, 16, random, concentration=0.05)
    losses = 3 + 0.3 * random.normal(size=(20, 2))
    for law in (DataMixingLaw(), ImplicitDomains()):
        assert law.fit(planted.observe(p, losses), rng()).predict(np.eye(16), SCALE).mean.max() < 3 * losses.max()


def test_a_diverged_run_does_not_bend_the_law():
    runs = planted.swarm(80, noise=0.005)
    spoiled = runs.losses.copy()
    spoiled[7] = 1e4
    robust = fit(planted.observe(runs.p, spoiled)).predict(runs.p, SCALE).mean
    assert np.abs(fit(runs).predict(runs.p, SCALE).mean - robust).mean() < 0.02


def test_missing_measurements_count_for_their_target_only():
    runs = planted.swarm(80, noise=0.002)
    holes = runs.losses.copy()
    holes[::2, 1] = np.nan
    plain, holed = fit(runs), fit(replace(runs, losses=holes))
    assert np.allclose(plain.t[0], holed.t[0])
    known = fit(runs.rows(np.arange(1, 80, 2)))
    assert np.allclose(holed.t[1], known.t[1], atol=0.05)


def test_one_hidden_domain_is_the_explicit_law():
    runs = planted.swarm(7)  # no more than one hidden domain can be held by seven runs
    one, explicit = ImplicitDomains().fit(runs, rng()), fit(runs)
    for name in ("c", "k", "t"):
        assert np.array_equal(getattr(one, name), getattr(explicit, name))


def test_hidden_domains_are_found_where_they_are_and_only_there():
    random = np.random.default_rng(6)
    p, unseen = planted.mixtures(120, 4, random), planted.mixtures(200, 4, random)
    noise = random.normal(0, 0.003, (120, 2))
    one = 2 + 0.5 * np.exp(p @ np.array([[-2.0], [1.0], [0.5], [0.5]]))
    runs = planted.observe(p, np.concatenate([two_hidden_domains(p), one], axis=1) + noise)
    fitted = ImplicitDomains().fit(runs.rows(np.arange(120)), rng())
    error = np.abs(fitted.predict(unseen, SCALE).mean[:, :1] - two_hidden_domains(unseen))
    explicit = np.abs(fit(runs).predict(unseen, SCALE).mean[:, :1] - two_hidden_domains(unseen))
    assert error.mean() < explicit.mean() / 5
    assert (ImplicitDomains().fit(planted.observe(p, runs.losses[:, 1:]), rng()).k > 0).sum() == 1


def test_held_out_loss_is_that_of_laws_fitted_without_the_fold():
    runs = planted.swarm(40, t=1, noise=0.005)
    fold = np.arange(40) % 4
    guess = np.empty((40, 1))
    for f in range(4):
        guess[fold == f] = fit(runs.rows(fold != f)).predict(runs.p[fold == f], SCALE).mean
    spread = 1.4826 * np.median(np.abs(runs.losses - np.median(runs.losses)))
    size, delta = np.abs(guess - runs.losses) / spread, np.clip(0.02 / spread, 0.05, 0.5)
    known = np.where(size <= delta, size**2 / 2, delta * (size - delta / 2)).mean()
    # The folds share the units and the prior's centre of all runs.
    assert held_out_loss(runs, 1, fold)[0] == pytest.approx(known, rel=0.05)


def test_the_gradient_of_several_terms_equals_finite_differences():
    p = planted.mixtures(120, 4, np.random.default_rng(7))
    fitted = ImplicitDomains().fit(planted.observe(p, two_hidden_domains(p)), rng())
    assert fitted.k.shape[1] > 1
    point, step = np.array([0.4, 0.3, 0.2, 0.1]), 1e-6
    _, gradient = fitted.value_and_gradient(point, SCALE)
    for j in range(4):
        move = step * np.eye(4)[j]
        ahead, behind = (fitted.predict(point + s * move, SCALE).mean for s in (1, -1))
        assert np.allclose(gradient[:, j], (ahead - behind) / (2 * step), atol=1e-6)


def five_groups(public_table) -> tuple[Observations, np.ndarray]:
    """The 26 mixtures at 70M and 30,000 steps with the five groups of the paper as targets, and their weights."""
    runs = read_swarm(public_table("mixinglaws_pile5"), SumTolerance.widened(None)).runs
    runs = runs.rows((runs.model_params < 2e7) & (np.abs(runs.train_tokens - 30_000 * 2**20) < 1))
    losses, weights = [], []
    for members in GROUPS.values():
        columns = [runs.targets.names.index(name) for name in members.split()]
        weight = runs.targets.weights[columns]
        losses.append(runs.losses[:, columns] @ weight / weight.sum())
        weights.append(weight.sum())
    return planted.observe(runs.p, np.stack(losses, axis=1), names=tuple(GROUPS)), np.array(weights)


def test_the_published_constants_of_five_domains(public_table):
    runs, _ = five_groups(public_table)
    assert len(runs) == 26
    fitted = fit(runs)
    # Printed as log c, log k, t. Without a prior the slope of a group's own domain is hardly held where it was absent
    # (-31.9 for dialogue); prose and symbolic are held.
    for row, tolerance, log_c, log_k, *t in (
        (1, 0.05, 1.2624, -2.1656, 1.3930, -4.6811, 0.7855, 1.8719, 0.5734),
        (3, 0.45, 0.4750, -3.6546, 3.3289, 3.6705, 3.1127, -16.4217, 3.1591),
    ):
        assert fitted.c[row] == pytest.approx(np.exp(log_c), abs=0.01)
        assert fitted.t[row, 0] == pytest.approx(np.array(t) - np.mean(t), abs=tolerance)
        assert np.log(fitted.k[row, 0]) == pytest.approx(log_k + np.mean(t), abs=0.15)


def test_the_published_error_of_five_domains(public_table):
    # The published MAE of the overall loss, 0.0086, is over 6 unnamed of the 26 mixtures, which the published fit has
    # seen. Ours is 0.0116 over all 26; the published one lies where 6 of them put it.
    runs, weights = five_groups(public_table)
    error = np.abs((fit(runs).predict(runs.p, SCALE).mean - runs.losses) @ weights)
    assert error.mean() < 0.0125
    draws = [error[np.random.default_rng(i).permutation(26)[:6]].mean() for i in range(500)]
    assert np.quantile(draws, 0.05) < 0.0086 < np.quantile(draws, 0.95)


def test_the_published_errors_over_hidden_domains(public_table):
    # Published, AdaBoost over 30 networks, on seen mixtures: 0.0268, 0.0104, 0.0027 for 1, 3 and 5 hidden domains.
    # One sum of exponentials under the prior reproduces the first two, and reaches 0.0058 with 5.
    runs, weights = five_groups(public_table)
    overall = planted.observe(runs.p, (runs.losses @ weights)[:, None])
    error = {}
    for terms in (1, 3, 5):
        law = fit_exponential_sum(overall, terms)
        guess = law.c + np.exp(law.log_weight + np.einsum("nk,tmk->ntm", runs.p, law.slopes)).sum(axis=2)
        error[terms] = float(np.abs(guess - overall.losses).mean())
    assert error[1] < 0.0268
    assert error[3] < 0.0104
    assert error[5] < 0.0070


def test_unseen_mixtures_of_five_domains(public_table):
    # Honestly held out, the overall loss fitted as one target costs 0.032, log_linear 0.062 (mean of 10 draws of 6).
    runs, weights = five_groups(public_table)
    overall = planted.observe(runs.p, (runs.losses @ weights)[:, None])
    ours, other = [], []
    for seed in range(10):
        order = np.random.default_rng(seed).permutation(26)
        seen, held = overall.rows(order[6:]), overall.rows(order[:6])
        for law, errors in ((DataMixingLaw(), ours), (LogLinear(), other)):
            errors.append(np.abs(law.fit(seen, rng()).predict(held.p, SCALE).mean - held.losses).mean())
    assert np.mean(ours) < 0.04
    assert np.mean(ours) < np.mean(other)


def test_two_domains_are_an_exponential_of_the_share(public_table):
    # Four mixtures a size: the logarithm of what lies above the fitted constant is linear in the share.
    runs = read_swarm(public_table("mixinglaws_pile2")).runs
    for group in (runs.scale_groups.min(), runs.scale_groups.max()):
        here = runs.rows(runs.scale_groups == group)
        fitted = fit(here)
        above = np.log(here.losses - fitted.c)
        for j in range(2):
            assert abs(np.corrcoef(here.p[:, 0], above[:, j])[0, 1]) > 0.995
        assert np.abs(fitted.predict(here.p, SCALE).mean - here.losses).max() < 0.01
