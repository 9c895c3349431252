"""Many candidate mixtures through RegMix's trees: the tables of leaves against LightGBM's own predictor, one thread.

    python -m benchmarks.tree_candidates [FOLDER] [--target NAME] [--candidates 100000] [--runs 512]

Both predict the same Dirichlet candidates with the same 1000 trees of one target, in turn, round after round; the best
round of each counts, for a busy machine only ever slows things down. Building the tables is in the time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from benchmarks.swarms import add_swarm_options, describe, swarm_of, target_column
from mixers.laws.regmix_lightgbm import RegMixLightGBM
from mixers.laws.tree_tables import TreeTables
from mixers.types import Observations


def timed(compute: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    """CPU seconds, and what was computed."""
    began = time.process_time()
    values = compute()
    return time.process_time() - began, values


def report(runs: Observations, candidates: int, rounds: int, trees: int) -> None:
    """Fit the one target of the runs, predict its candidates both ways, and print."""
    rng = np.random.default_rng(42)
    law = RegMixLightGBM(trees=trees)
    began = time.process_time()
    fitted = law.fit(runs, rng)
    print(f"fit of {runs.targets.names[0]}, {trees} trees: {time.process_time() - began:.2f} CPU s")
    p = rng.dirichlet(np.maximum(runs.domains.prior, 1e-3), size=candidates)
    best = {"LightGBM": np.inf, "tables": np.inf}
    values = {}
    ways = {
        "LightGBM": lambda: np.asarray(fitted.boosters[0].predict(p, num_threads=1)),
        "tables": lambda: TreeTables.of(fitted.models[0]).predict(p),
    }
    for _ in range(rounds):
        for name, way in ways.items():
            seconds, values[name] = timed(way)
            best[name] = min(best[name], seconds)
    for name, seconds in best.items():
        print(f"{candidates:,} candidates, {name:<9}{seconds:7.2f} CPU s")
    apart = np.abs(values["tables"] - values["LightGBM"]) / np.maximum(np.abs(values["LightGBM"]), 1e-12)
    print(f"LightGBM / tables: {best['LightGBM'] / best['tables']:.1f} times; relative difference {apart.max():.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of predicting candidate mixtures by boosted trees.")
    add_swarm_options(parser)
    parser.add_argument("--target", help="default: the first")
    parser.add_argument("--candidates", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trees", type=int, default=RegMixLightGBM.trees)
    options = parser.parse_args()
    runs = swarm_of(options)
    print(describe(options, runs))
    column = target_column(runs, options.target)
    one = replace(runs, targets=runs.targets.subset([column]), losses=runs.losses[:, [column]])
    report(one.rows(~np.isnan(one.losses[:, 0])), options.candidates, options.rounds, options.trees)


if __name__ == "__main__":
    main()
