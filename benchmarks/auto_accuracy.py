"""Whether the law chosen automatically is as good as the best single law, on every table of a folder.

    python -m benchmarks.auto_accuracy TABLES [--only a,b] [--most-targets 20] [--most-runs 400]
    python -m benchmarks.auto_accuracy TABLES --few regmix_pile [--draws 3]

The first prints, for each table, the rank correlation of the objective out of fold, inside of groups of equal scale,
of the best single law in hindsight, of ``auto`` and of ``stack``. Tables are thinned to the given numbers of targets
(the weightiest) and runs (whole scales, then at random) to save time.

The second draws few runs of the smallest scale at random, fits ``auto`` to 72 of them and LightGBM to 72, 128 and 256,
and prints how well each ranks the runs of that scale that it has not seen: mean rank correlation over the targets.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from app.fit_pool import fit_pool
from app.formats.swarm_folder import read_swarm
from app.formats.weight_columns import SumTolerance
from mixers.agreement import spearman_within
from mixers.fidelity import compare
from mixers.laws import LAWS, find_law
from mixers.types import Observations


def thinned(runs: Observations, most_targets: int, most_runs: int) -> Observations:
    """The weightiest targets; whole scales as long as there are too many runs, then runs at random.

    Scales are left out evenly, so that sizes and checkpoints stay spread.
    """
    columns = np.argsort(-runs.targets.weights, kind="stable")[:most_targets]
    runs = runs.of_targets(sorted(columns.tolist()))
    every = 1
    while len(runs.rows(runs.scale_groups % every == 0)) > most_runs and every * 6 <= runs.scale_groups.max() + 1:
        every += 1
    runs = runs.rows(runs.scale_groups % every == 0)
    keep = np.random.default_rng(0).permutation(len(runs))[:most_runs]
    return runs.rows(np.sort(keep))


def judge(name: str, runs: Observations) -> tuple[float, float, float]:
    """(best single law, auto, stack), printed as a line."""
    with fit_pool() as run_tasks:
        comparison = compare(runs, list(LAWS), np.random.default_rng(0), run_tasks=run_tasks)
    ranks = {r.law: r.objective.spearman for r in comparison.reports if r.skipped is None}
    single = {law: rank for law, rank in ranks.items() if law not in ("auto", "stack") and np.isfinite(rank)}
    best = max(single, key=lambda law: single[law])
    coverage = [r.coverage90 for r in comparison.reports if r.skipped is None]
    print(
        f"{name:<24}{len(runs):5} runs  best {single[best]:.3f} ({best})  auto {ranks['auto']:.3f}  "
        f"stack {ranks['stack']:.3f}  coverage {min(coverage):.3f} .. {max(coverage):.3f}",
        flush=True,
    )
    print("    " + ", ".join(f"{law} {rank:.3f}" for law, rank in single.items()), flush=True)
    return single[best], ranks["auto"], ranks["stack"]


def few_runs(runs: Observations, draws: int) -> None:
    """``auto`` on 72 runs against LightGBM on more, in ranking the rest."""
    smallest = runs.rows(runs.scale_groups == 0)
    cases = [("auto", 72), ("regmix_lightgbm", 72), ("regmix_lightgbm", 128), ("regmix_lightgbm", 256)]
    found: dict[tuple[str, int], list[float]] = {case: [] for case in cases}
    for draw in range(draws):
        order = np.random.default_rng(draw).permutation(len(smallest))
        rest = smallest.rows(order[256:])
        for law, count in cases:
            fitted = find_law(law).fit(smallest.rows(order[:count]), np.random.default_rng(0))
            guess = fitted.predict(rest.p, rest.scale).mean
            group = np.zeros(len(rest), dtype=np.int64)
            columns = range(len(rest.targets))
            ranks = [spearman_within(rest.losses[:, j], guess[:, j], group) for j in columns]
            found[law, count].append(float(np.mean(ranks)))
            print(f"draw {draw}: {law} on {count} runs: {found[law, count][-1]:.4f}", flush=True)
    for (law, count), values in found.items():
        print(f"{law} on {count} runs: {np.mean(values):.4f} (mean of {draws} draws)")


def main() -> None:
    parser = argparse.ArgumentParser(description="Accuracy of the automatic choice of a law.")
    parser.add_argument("tables", type=Path, help="holds one swarm folder a table")
    parser.add_argument("--only", help="comma-separated names of tables")
    parser.add_argument("--few", help="the table to draw few runs from, instead of all this")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--most-targets", type=int, default=20)
    parser.add_argument("--most-runs", type=int, default=400)
    options = parser.parse_args()
    tolerance = SumTolerance.widened(0.05)
    if options.few:
        few_runs(read_swarm(options.tables / options.few, tolerance).runs, options.draws)
        return
    names = (
        options.only.split(",") if options.only else sorted(p.parent.name for p in options.tables.glob("*/runs.csv"))
    )
    rows = []
    for name in names:
        runs = read_swarm(options.tables / name, tolerance).runs
        rows.append(judge(name, thinned(runs, options.most_targets, options.most_runs)))
    best, auto, stack = np.mean(rows, axis=0)
    worst = min(row[1] - row[0] for row in rows)
    print(f"mean over {len(rows)} tables: best single {best:.4f}, auto {auto:.4f}, stack {stack:.4f}")
    print(f"auto is at worst {worst:+.3f} from the best single law of a table")


if __name__ == "__main__":
    main()
