import numpy as np
import pytest

from mixers.agreement import objective_values
from mixers.errors import InvalidInput
from mixers.families import OTHERS, by_family
from mixers.types import Observations, Targets
from tests.mixers import planted


def test_families_keep_the_objective_and_drop_what_counts_for_nothing():
    rng = np.random.default_rng(0)
    p = planted.mixtures(20, 3, rng)
    targets = Targets(("a", "b", "c", "d"), np.array([1.0, 2.0, 0.0, 3.0]), ("math", "math", "code", ""))
    runs = Observations(planted.domains(3), targets, p, rng.normal(size=(20, 4)))
    merged = by_family(runs)
    assert merged.targets.names == ("math", OTHERS)
    assert merged.targets.weights.tolist() == [3.0, 3.0]
    assert np.allclose(merged.losses[:, 0], (runs.losses[:, 0] + 2 * runs.losses[:, 1]) / 3)
    assert np.allclose(*(objective_values(r.losses, r.targets.weights) for r in (runs, merged)))


def test_without_families_there_is_nothing_to_merge():
    with pytest.raises(InvalidInput, match="no target names a family"):
        by_family(planted.swarm())
