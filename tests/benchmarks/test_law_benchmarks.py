"""The benchmarks of the laws run on tiny swarms, and measure what they say. Their figures are not tested."""

import sys

import numpy as np
import pytest
import torch

from benchmarks import law_growth, log_linear_speed, tree_candidates
from benchmarks.swarms import planted_swarm
from mixers.laws import LAWS


def run(module, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", ["benchmark", *arguments])
    module.main()
    return capsys.readouterr().out


def test_smoke_log_linear_speed(monkeypatch, capsys):
    monkeypatch.setattr(log_linear_speed, "OUTER_STEPS", 1)
    monkeypatch.setattr(log_linear_speed, "ROUNDS", 1)
    threads = torch.get_num_threads()
    try:
        printed = run(log_linear_speed, monkeypatch, capsys, "--runs", "60", "--starts", "2")
    finally:
        torch.set_num_threads(threads)
    assert "a planted swarm: 60 runs, 17 domains, 13 targets; one thread" in printed
    assert "extrapolated from 2 starts" in printed
    assert "times the CPU seconds on the same objective" in printed


def test_our_fit_reaches_the_references_objective_on_an_easy_table():
    runs = planted_swarm(60, 3, 1)
    theirs = log_linear_speed.reference(runs, 0, 3)
    ours = log_linear_speed.without_ridge(runs)
    assert ours == pytest.approx(theirs.objective, rel=1e-6)
    assert ours < log_linear_speed.with_ridge(runs) < 2 * ours


def test_the_reference_starts_are_the_published_grid():
    starts = log_linear_speed.reference_starts(5, 2, np.random.default_rng(0))
    assert starts.shape == (300, 6)
    assert np.unique(starts[:, 0]) == pytest.approx(np.linspace(-2, 1.5, 10))
    own, others = starts[:, 3], np.delete(starts[:, 1:], 2, axis=1)
    assert own.min() < -0.9
    assert -0.1 <= others.min() <= others.max() <= 0


def test_smoke_tree_candidates(monkeypatch, capsys):
    small = ("--runs", "60", "--candidates", "300", "--trees", "5", "--rounds", "1")
    printed = run(tree_candidates, monkeypatch, capsys, *small)
    assert "300 candidates, tables" in printed
    difference = float(printed.rsplit("relative difference", 1)[1])
    assert difference < 1e-9


def test_smoke_law_growth_measures_a_law_in_its_own_process(monkeypatch, capsys):
    monkeypatch.setattr(law_growth, "QUICK", {"runs": (64,), "domains": (4, 300)})
    printed = run(law_growth, monkeypatch, capsys, "--quick", "--laws", "regmix_linear")
    assert "runs         64" in printed
    assert "CPU s" in printed
    assert "needs at least 301 measured runs" in printed  # 256 are given


def test_a_fit_beyond_the_limit_is_ended():
    sizes = {"runs": 2000, "domains": 16, "targets": 64}
    assert law_growth.measure("regmix_lightgbm", sizes, 1.0).failure == "over 1 s"


def test_the_power_of_growth_is_the_slope_in_logarithms():
    costs = [law_growth.Cost(0.1, 1.0), law_growth.Cost(1.6, 1.0)]
    assert law_growth.growth(costs, (4, 16)) == pytest.approx(2.0)
    assert np.isnan(law_growth.growth(costs[:1], (4, 16)))


def test_laws_made_of_others_are_measured_only_when_named():
    single = law_growth.single_laws()
    assert "log_linear" in single
    assert not {"stack", "auto"} & set(single)
    assert set(single) <= set(LAWS)


def test_planted_swarms_have_the_asked_shape_and_scales():
    runs = planted_swarm(36, 5, 2, scales=3)
    assert runs.p.shape == (36, 5)
    assert runs.losses.shape == (36, 2)
    assert len(set(runs.scale_groups.tolist())) == 9
