"""What it takes to compare laws out of fold on a swarm folder: wall and CPU seconds, law by law.

    python -m benchmarks.law_comparison FOLDER [--laws a,b] [--exclude c] [--by-family] [--ids train1m]

Seconds a law are those of its own fits; the laws that are made of others reuse theirs.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np

from app.fit_pool import fit_pool
from app.formats.swarm_folder import read_swarm
from mixers.families import by_family
from mixers.fidelity import Comparison, compare
from mixers.laws import LAWS
from mixers.types import Observations


def cpu_seconds() -> float:
    """User and system time of this process and of those that it has waited for."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def runs_of(options: argparse.Namespace) -> Observations:
    """The runs that the options ask for."""
    runs = read_swarm(options.folder).runs
    if options.model_params is not None:
        runs = runs.rows(runs.model_params == options.model_params)
    if options.ids is not None:
        runs = runs.rows(np.array([run_id.startswith(options.ids) for run_id in runs.run_ids]))
    return by_family(runs) if options.by_family else runs


def show(comparison: Comparison) -> None:
    """A line a law."""
    print(f"{'law':<24}{'Spearman':>9}{'R2':>8}{'coverage':>10}{'fit s':>8}")
    for report in comparison.reports:
        if report.skipped is not None:
            print(f"{report.law:<24}  {report.skipped}")
            continue
        objective = report.objective
        print(
            f"{report.law:<24}{objective.spearman:9.3f}{objective.r2:8.3f}{report.coverage90:10.3f}"
            f"{report.fit_seconds:8.1f}"
        )
    print(f"chosen: {comparison.choice}: {comparison.reason}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Time of a comparison of laws.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--laws", help="comma-separated (default: every law)")
    parser.add_argument("--exclude", default="", help="comma-separated laws to leave out")
    parser.add_argument("--by-family", action="store_true", help="one target a family")
    parser.add_argument("--model-params", type=float, help="only runs of this size")
    parser.add_argument("--ids", help="only runs whose id starts so")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    excluded = options.exclude.split(",")
    laws = [name for name in (options.laws.split(",") if options.laws else LAWS) if name not in excluded]
    runs = runs_of(options)
    wall, cpu = time.perf_counter(), cpu_seconds()
    with fit_pool(options.processes) as run_tasks:
        comparison = compare(runs, laws, np.random.default_rng(0), run_tasks=run_tasks)
    wall = time.perf_counter() - wall
    show(comparison)
    print(f"{len(runs)} runs, {len(runs.domains)} domains, {len(runs.targets)} targets, {len(laws)} laws, out of fold:")
    print(f"{wall:.0f} s on {options.processes} processes, {cpu_seconds() - cpu:.0f} CPU s in all")


if __name__ == "__main__":
    main()
