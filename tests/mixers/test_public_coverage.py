"""Nominal 90 % intervals on public tables of 60 runs and more, each calibrated without the fold it is judged on."""

import numpy as np
import pytest

from app.formats.swarm_folder import read_swarm
from mixers.fidelity import compare

LAWS = ["log_linear", "additive_scaling", "gaussian_process"]


@pytest.mark.parametrize("table", ["olmix_dclm", "mixinglaws_pile2", "mixinglaws_pile3"])
def test_nominal_ninety_percent_intervals_cover_unseen_runs(public_table, table):
    runs = read_swarm(public_table(table)).runs
    heaviest = np.argsort(-runs.targets.weights, kind="stable")[:10]
    comparison = compare(runs.of_targets(sorted(heaviest.tolist())), LAWS, np.random.default_rng(0))
    covered = {report.law: report.coverage90 for report in comparison.reports}
    assert all(0.85 <= share <= 0.95 for share in covered.values()), covered
