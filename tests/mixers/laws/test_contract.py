"""What every law of the registry must keep, whichever it is."""

import json

import numpy as np
import pytest

from mixers.errors import MixError, TooFewRuns
from mixers.laws import LAWS, CalibratedLaw, Form, find_law, fitted_from_dict
from mixers.types import Domains, Observations, Scale, Targets
from tests.mixers import planted

SCALE = Scale(np.float64(1e6), np.float64(1e9))
every_law = pytest.mark.parametrize("name", LAWS)


def fit(name: str, runs: Observations, seed: int = 0):
    return planted.law_of(name).fit(runs, np.random.default_rng(seed))


def swarm_for(name: str, n: int = 60, seed: int = 0) -> Observations:
    """A planted swarm at as many scales as the law asks for."""
    if find_law(name).needs.min_scales > 1:
        return planted.scaled_swarm(n, seed=seed)
    return planted.swarm(n, seed=seed)


def permuted(runs: Observations, order: np.ndarray) -> Observations:
    names = tuple(runs.domains.names[j] for j in order)
    domains = Domains(names, runs.domains.prior[order])
    return Observations(domains, runs.targets, runs.p[:, order], runs.losses, runs.model_params, runs.train_tokens)


@every_law
def test_predictions_have_the_asked_shape_and_are_finite_everywhere_on_the_simplex(name):
    fitted = fit(name, swarm_for(name))
    corners = fitted.predict(np.eye(4), SCALE)
    assert corners.mean.shape == corners.std.shape == (4, 3)
    assert fitted.predict(np.full((2, 5, 4), 0.25), SCALE).mean.shape == (2, 5, 3)
    assert fitted.predict(np.full(4, 0.25), SCALE).mean.shape == (3,)
    assert (corners.std > 0).all()


@every_law
def test_a_law_survives_json_and_predicts_the_same(name):
    runs = swarm_for(name)
    fitted = fit(name, runs)
    again = fitted_from_dict(json.loads(json.dumps(fitted.to_dict(), allow_nan=False)))
    before, after = fitted.predict(runs.p, runs.scale), again.predict(runs.p, runs.scale)
    assert np.abs(before.mean - after.mean).max() <= 1e-12
    assert np.abs(before.std - after.std).max() <= 1e-12


@every_law
def test_the_same_seed_gives_the_same_law(name):
    runs = swarm_for(name)
    assert np.array_equal(fit(name, runs).predict(runs.p, SCALE).mean, fit(name, runs).predict(runs.p, SCALE).mean)


@every_law
def test_permuting_the_domains_permutes_the_answer(name):
    runs, order = swarm_for(name), np.array([2, 0, 3, 1])
    plain = fit(name, runs).predict(runs.p, SCALE).mean
    shuffled = fit(name, permuted(runs, order)).predict(runs.p[:, order], SCALE).mean
    # Trees break ties between equally good splits by the order of the columns. The many worths of the joint law lie in
    # a flat valley, in which the order of sums decides where a fit ends.
    tolerance = {"regmix_lightgbm": 0.02, "joint_scaling": 1e-3}.get(name, 1e-5)
    assert np.abs(plain - shuffled).max() < tolerance


@every_law
def test_targets_are_fitted_by_themselves(name):
    runs = swarm_for(name, 80)
    spoiled = runs.losses.copy()
    spoiled[::2, 1] = np.nan  # another target that was measured in half of the runs
    other = Observations(runs.domains, runs.targets, runs.p, spoiled, runs.model_params, runs.train_tokens)
    before, after = fit(name, runs).predict(runs.p, SCALE), fit(name, other).predict(runs.p, SCALE).mean
    # Ridge strengths are chosen half by the average over targets: an untouched target may move by the noise. Two laws
    # share more, exponents tied by the PRESS of all and one allotment of capacity: they stay inside of their doubt.
    coupled = name in ("bimix_multi", "capacity")
    assert np.abs(before.mean[:, 0] - after[:, 0]).max() < (before.std[:, 0].min() if coupled else 0.02)


@every_law
def test_too_few_runs_say_how_many_are_needed(name):
    law = find_law(name)
    need = law.needs.min_runs(4)
    if need > 1:
        with pytest.raises(TooFewRuns, match=f"{name} needs at least {need} measured runs"):
            fit(name, swarm_for(name, need - 1))
    fit(name, swarm_for(name, max(need, 1)))


@every_law
def test_gradients_equal_finite_differences(name):
    fitted = fit(name, swarm_for(name))
    if fitted.form == Form.STEPS:
        pytest.skip(f"{name} has no closed form")
    p, step = np.array([0.4, 0.3, 0.2, 0.1]), 1e-6
    value, gradient = fitted.value_and_gradient(p, SCALE)
    assert np.allclose(value, fitted.predict(p, SCALE).mean)
    for j in range(4):
        move = step * np.eye(4)[j]
        ahead, behind = (fitted.value_and_gradient(p + s * move, SCALE)[0] for s in (1, -1))
        assert np.allclose(gradient[:, j], (ahead - behind) / (2 * step), atol=1e-6)


@every_law
def test_a_law_that_says_it_is_convex_is(name):
    fitted = fit(name, swarm_for(name))
    if fitted.form != Form.CONVEX:
        pytest.skip(f"{name} does not claim to be convex")
    rng = np.random.default_rng(0)
    p, q = planted.mixtures(200, 4, rng), planted.mixtures(200, 4, rng)
    mean = [fitted.predict(x, SCALE).mean for x in (p, q, (p + q) / 2)]
    assert (mean[2] <= (mean[0] + mean[1]) / 2 + 1e-9).all()


@every_law
def test_constant_targets_are_predicted_as_constant(name):
    runs = swarm_for(name)
    scales = runs.model_params, runs.train_tokens
    flat = Observations(runs.domains, Targets(("x",)), runs.p, np.full((len(runs), 1), 2.5), *scales)
    assert np.allclose(fit(name, flat).predict(np.eye(4), SCALE).mean, 2.5, atol=1e-3)


@every_law
def test_negated_metrics_are_fitted_or_refused_in_words(name):
    runs = swarm_for(name)
    negated = Observations(runs.domains, runs.targets, runs.p, -runs.losses, runs.model_params, runs.train_tokens)
    if name == "bimix":
        with pytest.raises(MixError, match="positive"):
            fit(name, negated)
    else:
        mean = fit(name, negated).predict(runs.p, SCALE).mean
        assert np.abs(mean - negated.losses).mean() <= np.abs(negated.losses.mean(0) - negated.losses).mean() + 1e-9


@every_law
def test_each_scale_is_told_apart_and_an_unknown_one_takes_the_nearest(name):
    small, large = swarm_for(name, 60, seed=1), swarm_for(name, 60, seed=1)
    runs = Observations(
        small.domains,
        small.targets,
        np.concatenate([small.p, large.p]),
        np.concatenate([small.losses, large.losses * 0.8]),
        np.repeat([1e6, 1e8], 60),
        np.full(120, 1e9),
    )
    fitted = fit(name, runs)
    low, high = (fitted.predict(small.p, Scale(np.float64(n), np.float64(1e9))).mean for n in (1e6, 1e8))
    assert np.allclose(high.mean(axis=0), 0.8 * low.mean(axis=0), rtol=0.02)
    beyond = fitted.predict(small.p, Scale(np.float64(1e9), np.float64(1e9))).mean
    assert (beyond.mean(axis=0) < high.mean(axis=0)).all()  # the level goes on falling with N
    assert (beyond.mean(axis=0) > 0.7 * high.mean(axis=0)).all()


def test_an_unknown_law_lists_the_known_ones():
    with pytest.raises(MixError, match="no law 'magic'; known are mean, regmix_linear"):
        find_law("magic")
    with pytest.raises(MixError, match="unknown kind"):
        fitted_from_dict({"kind": "magic"})


def test_a_calibrated_law_survives_json():
    runs = planted.swarm()
    inner = fit("log_linear", runs)
    law = CalibratedLaw(runs.domains.names, runs.targets.names, inner, np.array([1.0, 2.0, 3.0]), np.eye(3))
    again = fitted_from_dict(json.loads(json.dumps(law.to_dict())))
    assert np.array_equal(law.predict(runs.p, SCALE).std, again.predict(runs.p, SCALE).std)
    assert np.allclose(law.predict(runs.p, SCALE).std, inner.predict(runs.p, SCALE).std * [1, 2, 3])
