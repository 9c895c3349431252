"""Laws made of others: their shares are the best there are, earned without the runs they are judged on."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from mixers.errors import TooFewRuns
from mixers.fidelity import compare, fit_calibrated
from mixers.folds import fold_by_mixture, is_largest_scale
from mixers.laws import LAWS, Form, fitted_from_dict
from mixers.laws.auto import Auto
from mixers.laws.base import FittedLaw, MixingLaw, Needs
from mixers.laws.combination import Shares, blend, gather
from mixers.laws.cross_fit import CrossFit, LeftOut
from mixers.laws.mean import FittedMean
from mixers.laws.residuals import best_shares, errors_of
from mixers.laws.stack import Stack
from mixers.types import Observations, Prediction, Scale
from tests.mixers import planted

QUICK = tuple(LAWS[name] for name in ("mean", "regmix_linear", "log_linear", "bimix"))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


class Recorder(MixingLaw):
    """Predicts the mean, and remembers which runs every fit saw and which it was asked for."""

    name = "recorder"
    needs = Needs(lambda k: 1, "")
    knows_params = knows_tokens = True

    def __init__(self) -> None:
        self.fits: list[set[str]] = []

    def fit(self, runs: Observations, rng: np.random.Generator) -> FittedLaw:
        self.fits.append(set(runs.run_ids))
        return LAWS["mean"].inner.fit(runs, rng)


def cross(runs: Observations, folds: int = 5) -> CrossFit:
    return CrossFit(runs, fold_by_mixture(runs, folds, rng()), 0)


@pytest.mark.parametrize("seed", range(5))
def test_the_shares_minimise_the_error_over_the_simplex(seed):
    root = rng(seed).normal(size=(6, 40)) * np.array([1.0, 0.5, 0.5, 2.0, 0.1, 3.0])[:, None]
    q = root @ root.T / 40
    share = best_shares(q[None])[0]
    found = minimize(
        lambda w: w @ q @ w,
        np.full(6, 1 / 6),
        jac=lambda w: 2 * q @ w,
        bounds=[(0, 1)] * 6,
        constraints=[{"type": "eq", "fun": lambda w: w.sum() - 1}],
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert share.sum() == pytest.approx(1)
    assert share @ q @ share == pytest.approx(found.fun, rel=1e-6)


def test_the_error_of_a_combination_is_the_combination_of_the_errors():
    runs = planted.swarm(40, t=2)
    means = [runs.losses + rng(seed).normal(0, 0.01, runs.losses.shape) for seed in range(3)]
    q = errors_of(runs, means, np.arange(40) % 4).mean_square()
    w = np.array([0.2, 0.5, 0.3])
    error = sum(share * (runs.losses - mean) for share, mean in zip(w, means, strict=True))
    q_of_error = errors_of(runs, [runs.losses - error], np.arange(40) % 4).mean_square()
    # Not exactly: each error is taken about its own median.
    assert np.allclose([w @ one @ w for one in q], q_of_error[:, 0, 0], rtol=0.05)
    assert len(q) == 2 + 1  # the objective comes last


def test_blended_deviation_is_that_of_the_mixture_of_the_members():
    shares = Shares(("a", "b"), np.array([[0.25], [0.75]]), np.array([[1.0], [2.0]]), ("",))
    both = blend([np.array([1.0]), np.array([3.0])], [np.array([0.5]), np.array([0.1])], shares)
    assert both.mean[0] == pytest.approx(2.5)
    # E[var] + var[E] with deviations .5 and 2 x .1
    assert both.std[0] ** 2 == pytest.approx(0.25 * (0.25 + 2.25) + 0.75 * (0.04 + 0.25))


def test_no_fit_sees_the_mixtures_it_is_judged_on():
    runs = planted.repeated(planted.swarm(30, k=3, t=1), 2)
    law = Recorder()
    folded = cross(runs)
    for without in (None, *range(5)):
        gather(folded, (law,), without)
    mixture = {name: i // 2 for i, name in enumerate(runs.run_ids)}
    for seen in law.fits:
        hidden = set(runs.run_ids) - seen
        assert not {mixture[i] for i in seen} & {mixture[i] for i in hidden}
    assert len(law.fits) == 5 + 10  # judging, and all pairs of folds: each fit is made once


def test_where_runs_are_many_each_fold_is_served_by_its_neighbours():
    runs = planted.swarm(200, k=3, t=1)
    law = Recorder()
    folded = cross(runs)
    for without in (None, *range(5)):
        gather(folded, (law,), without)
    assert len(law.fits) == 5 + 5
    assert {tuple(sorted(left.folds)) for left in folded.pairs(2)} == {(1, 2), (2, 3)}


def test_the_evidence_for_a_fold_does_not_hold_it():
    runs = planted.swarm(40)
    folded = cross(runs)
    evidence = gather(folded, QUICK, without=2)
    assert np.isnan(evidence.guesses[0].mean[folded.fold == 2]).all()
    judged = ~np.isnan(evidence.guesses[0].mean).all(axis=1)
    assert set(folded.fold[judged]) == {0, 1, 3, 4}


def test_the_largest_scale_is_left_out_to_judge_transfer():
    runs = planted.scaled_swarm(45)
    assert (runs.model_params[is_largest_scale(runs)] == 16e6).all()
    assert not is_largest_scale(planted.swarm()).any()
    folded = cross(runs)
    out = folded.rows_left_out(LeftOut(frozenset({0}), largest=True))
    assert (out == ((folded.fold == 0) | (runs.model_params == 16e6))).all()
    assert set(gather(folded, QUICK[:3]).transfer) == {"mean", "regmix_linear", "log_linear"}


def test_auto_takes_the_planted_law_and_says_why():
    fitted = Auto(QUICK).fit(planted.swarm(80, noise=0.002), rng())
    assert all(reason.startswith(("log_linear", "stack of log_linear")) for reason in fitted.shares.reasons)
    share = dict(zip(fitted.shares.members, fitted.shares.share, strict=True))
    assert (share["log_linear"] > 0.8).all()
    assert fitted.form == Form.CONVEX


def test_auto_chooses_for_each_target_by_itself():
    """One target is linear, one depends on a single domain's share only as a power law does."""
    random = rng()
    p = planted.mixtures(90, 4, random)
    linear = 3 + p @ np.array([1.0, -1.0, 0.5, 0.2])
    power = 1.5 * np.maximum(p[:, 1], 1e-3) ** -0.2
    losses = np.stack([linear, power], axis=1) + random.normal(0, 0.003, (90, 2))
    runs = planted.observe(p, losses, names=("linear", "d1"))
    members = tuple(LAWS[name] for name in ("mean", "regmix_linear", "bimix"))
    share = Auto(members).weigh(gather(cross(runs), members)).share
    assert share[1, 0] > 0.9
    assert share[2, 1] > 0.9


def test_auto_falls_back_to_robust_laws_when_runs_are_few():
    fitted = Auto(QUICK).fit(planted.swarm(12), rng())
    assert "regmix_linear" not in fitted.shares.members
    assert "only 12 mixtures" in fitted.shares.note
    assert len({reason.split(":")[0] for reason in fitted.shares.reasons}) == 1


def test_auto_refuses_laws_that_do_not_transfer():
    """At the large scale the order of the mixtures is what N and D say it is, to whom the law of one scale is blind."""
    runs = planted.scaled_swarm(90, noise=0.001)
    evidence = gather(cross(runs), QUICK)
    spoiled = replace(evidence, transfer={**evidence.transfer, "log_linear": 0.2, "regmix_linear": 0.9, "bimix": 0.9})
    shares = Auto(QUICK).weigh(spoiled)
    assert (shares.share[shares.members.index("log_linear")] == 0).all()
    assert "no candidates for ranking it much worse" in shares.note
    assert "log_linear (0.20)" in shares.note


def test_a_stack_is_no_worse_than_its_best_member_and_is_judged_out_of_fold():
    comparison = compare(planted.swarm(80, noise=0.05), ["stack", *(law.name for law in QUICK)], rng())
    stack = comparison.report("stack")
    best = min(r.objective.mae for r in comparison.reports if r.law != "stack")
    assert stack.objective.mae <= 1.1 * best
    assert stack.shares is not None


def test_the_reported_shares_are_those_of_the_fitted_law_and_survive_json():
    runs = planted.swarm(60)
    report = compare(runs, ["auto"], rng()).report("auto")
    fitted = fit_calibrated(report, runs, rng())
    again = fitted_from_dict(json.loads(json.dumps(fitted.to_dict(), allow_nan=False)))
    assert again.inner.shares.reasons == report.shares.reasons
    here = Scale(np.float64(1e6), np.float64(1e9))
    assert np.abs(again.predict(runs.p, here).mean - fitted.predict(runs.p, here).mean).max() <= 1e-12


def test_members_that_cannot_be_fitted_have_no_share():
    members = (LAWS["mean"], LAWS["log_linear"], LAWS["regmix_lightgbm"])
    fitted = Stack(members).fit(planted.swarm(30), rng())
    assert "regmix_lightgbm" not in fitted.shares.members
    with pytest.raises(TooFewRuns, match="no member law could be fitted: regmix_lightgbm: regmix_lightgbm needs"):
        Stack(members[2:]).fit(planted.swarm(30), rng())


def test_a_diverged_run_does_not_choose():
    runs = planted.swarm(60)
    wild = runs.losses.copy()
    wild[7] = 60.0
    spoiled = replace(runs, losses=wild)
    means = [
        runs.losses + rng(2).normal(0, 0.02, runs.losses.shape),
        runs.losses + rng(1).normal(0, 0.05, runs.losses.shape),
    ]
    plain, shaken = (best_shares(errors_of(one, means, np.arange(60) % 5).mean_square()) for one in (runs, spoiled))
    assert np.abs(plain - shaken).max() < 0.1


def test_a_prediction_of_equal_members_is_theirs():
    one = FittedMean(("a", "b"), ("y",), np.array([2.0]), np.array([0.1]))
    guess = one.predict(np.array([0.5, 0.5]), Scale.unknown())
    shares = Shares(("m", "n"), np.array([[0.4], [0.6]]), np.ones((2, 1)), ("",))
    both = blend([guess.mean] * 2, [guess.std] * 2, shares)
    assert both == Prediction(both.mean, both.std)
    assert both.mean[0] == pytest.approx(2.0)
    assert both.std[0] == pytest.approx(0.1)
