"""The Pareto front of a smooth law: descents from screened starts against twelve from random ones for every lean.

    python -m benchmarks.pareto_fronts [FOLDER] [--law gaussian_process] [--count 5] [--runs 512]

Targets without a family take turns in two. Both ways solve for the same leans under the same fitted law; CPU seconds of
each, their ratio, and how much worse the screened points are at worst, in the number that they were found for.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np

from benchmarks.swarms import add_swarm_options, describe, swarm_of
from mixers.baselines import largest_scale
from mixers.laws import LAWS
from mixers.laws.base import Form
from mixers.objectives import WorstExcess, family_matrix
from mixers.optimizers import solve
from mixers.pareto import lean_lattice, pareto_front
from mixers.problem import Problem, objective_of
from mixers.simplex import FeasibleSet
from mixers.types import Observations


def report(runs: Observations, law: str, count: int) -> None:
    """Fit the law, follow the front both ways, and print."""
    targets = runs.targets
    if not any(targets.families):
        targets = replace(targets, families=tuple("ab"[i % 2] for i in range(len(targets))))
    fitted = LAWS[law].fit(runs, np.random.default_rng(0))
    if fitted.form != Form.SMOOTH:
        print(f"{law} is not a smooth law here ({fitted.form.name.lower()}): its front takes no descents")
        return
    feasible = FeasibleSet.simplex(runs.domains)
    problem = Problem(runs.domains, targets, feasible, 0.0, largest_scale(runs))
    plain, rows = objective_of(fitted, problem), family_matrix(targets)

    began = time.process_time()
    front = pareto_front(plain, targets, feasible, np.random.default_rng(0), count)
    screened = time.process_time() - began

    rng, began = np.random.default_rng(0), time.process_time()
    ends = np.stack([solve(replace(plain, weights=row), feasible, rng).solution.weights for row in rows])
    values = fitted.predict(ends, problem.scale).mean @ rows.T
    ideal, extent = values.min(axis=0), np.ptp(values, axis=0)
    worse = []
    for lean in lean_lattice(len(rows), count):
        share, total = lean / extent, (rows / extent[:, None]).sum(axis=0)
        worst = WorstExcess(share[:, None] * rows, share * ideal, 1e-3 * float(total.sum()))
        chebyshev = replace(plain, worst=worst, weights=total)
        best = solve(chebyshev, feasible, rng).solution.value
        worse.append(min(float(chebyshev.value(point.weights)) for point in front.points) - best)
    many = time.process_time() - began

    print(f"{law}, {len(rows)} families, {len(worse)} leans, {len(front.points)} points")
    print(f"screened starts {screened:8.1f} CPU s")
    print(f"random starts   {many:8.1f} CPU s: {many / screened:.1f} times")
    print(f"worst point: {max(worse):+.1e} of the range of its family")


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of Pareto fronts under a smooth law.")
    add_swarm_options(parser)
    parser.add_argument("--law", default="gaussian_process")
    parser.add_argument("--count", type=int, default=5)
    options = parser.parse_args()
    runs = swarm_of(options)
    print(describe(options, runs))
    report(runs, options.law, options.count)


if __name__ == "__main__":
    main()
