"""RegMix's published rank correlations on its public runs (arXiv 2407.01492, section 4)."""

import numpy as np
import pytest

from app.formats.swarm_folder import read_swarm
from mixers.agreement import spearman_within
from mixers.laws import find_law
from mixers.types import Observations


@pytest.fixture
def pile_cc(public_table) -> tuple[Observations, Observations]:
    """The 512 runs to fit and the 256 to rank, at 1M parameters, with the loss on Pile-CC alone."""
    runs = read_swarm(public_table("regmix_pile")).runs
    runs = runs.of_targets([runs.targets.names.index("pile_cc")])
    kind = np.array([run_id.split("-")[0] for run_id in runs.run_ids])
    return runs.rows(kind == "train1m"), runs.rows(kind == "test1m")


# Published: 90.08 and 98.45 (early-stopped on the test rows); recomputed from the public files: 90.21 and 99.04.
@pytest.mark.parametrize(("law", "low", "high"), [("regmix_linear", 0.899, 0.906), ("regmix_lightgbm", 0.985, 0.991)])
def test_the_published_rank_correlation_is_reproduced(pile_cc, law, low, high):
    train, test = pile_cc
    guess = find_law(law).fit(train, np.random.default_rng(0)).predict(test.p, test.scale).mean[:, 0]
    assert low <= spearman_within(test.losses[:, 0], guess, test.scale_groups) <= high


def test_a_smooth_law_ranks_as_well_on_a_seventh_of_the_runs(pile_cc):
    train, test = pile_cc
    few = train.rows(np.random.default_rng(0).permutation(512)[:72])
    guess = find_law("gaussian_process").fit(few, np.random.default_rng(0)).predict(test.p, test.scale).mean[:, 0]
    assert spearman_within(test.losses[:, 0], guess, test.scale_groups) > 0.96
