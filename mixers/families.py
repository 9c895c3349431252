"""Targets by family: fewer, calmer numbers, for laws that are too dear to fit to every target.

A law is fitted best target by target; families are for a quick look, or for laws like trees on a hundred targets.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mixers.agreement import objective_values
from mixers.errors import InvalidInput
from mixers.types import Observations, Targets

# The name of the family of the targets that have none.
OTHERS = "others"


def by_family(runs: Observations) -> Observations:
    """The same runs with one target a family: the weighted mean of its targets, with the sum of their weights.

    Families whose targets all have weight 0 are left out. Where all targets were measured the objective is the same.

    Raises:
        InvalidInput: no target names a family.
    """
    families = [family or OTHERS for family in runs.targets.families]
    if not any(runs.targets.families):
        raise InvalidInput("no target names a family; the column 'family' of targets.csv does")
    weights, names, losses, sums = runs.targets.weights, [], [], []
    for name in dict.fromkeys(families):
        columns = np.array([family == name for family in families])
        if weights[columns].sum() > 0:
            names.append(name)
            losses.append(objective_values(runs.losses[:, columns], weights[columns]))
            sums.append(weights[columns].sum())
    return replace(runs, targets=Targets(tuple(names), np.array(sums)), losses=np.stack(losses, axis=1))
