"""The swarm that a benchmark measures: that of a folder, or one planted in the same shape where none is named."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from app.formats.swarm_folder import read_swarm
from mixers.types import Domains, Observations, Targets

# The shape of RegMix's public swarm.
RUNS, DOMAINS, TARGETS = 512, 17, 13
# Standard deviation of the noise, where the losses of a target vary by about 1.
_NOISE = 0.01


def planted_swarm(runs: int, domains: int, targets: int, scales: int = 1, seed: int = 0) -> Observations:
    """Sparse mixtures, losses of a log-linear law of each target, and a little noise.

    With several scales every run has one of as many sizes and one of as many token counts, and losses fall with both.
    """
    rng = np.random.default_rng(seed)
    names = tuple(f"domain{j}" for j in range(domains))
    prior = rng.dirichlet(np.full(domains, 2.0))
    p = rng.dirichlet(np.maximum(prior * domains * 0.3, 0.02), size=runs)
    slopes = rng.normal(size=(targets, domains))
    slopes -= slopes.mean(axis=1, keepdims=True)
    losses = rng.uniform(1, 2, targets) + np.exp(rng.uniform(-0.5, 0.5, targets) + p @ slopes.T)
    losses += _NOISE * rng.normal(size=losses.shape)
    params, tokens = 4.0 ** (np.arange(runs) % scales), 2.0 ** (np.arange(runs) // scales % scales)
    losses += 0.5 * (params**-0.3 + tokens**-0.4)[:, None]
    measured = Targets(tuple(f"target{i}" for i in range(targets)))
    return Observations(Domains(names, prior), measured, p, losses, 1e6 * params, 1e9 * tokens)


def add_swarm_options(parser: argparse.ArgumentParser) -> None:
    """Which swarm, and how much of it."""
    parser.add_argument("folder", type=Path, nargs="?", help="a swarm folder (default: a planted swarm)")
    parser.add_argument("--runs", type=int, default=RUNS, help="the first so many of the scale with the most runs")


def swarm_of(options: argparse.Namespace) -> Observations:
    """The runs that the options ask for, all of one scale."""
    if options.folder is None:
        return planted_swarm(options.runs, DOMAINS, TARGETS)
    runs = read_swarm(options.folder).runs
    scale = runs.scale_groups
    return runs.rows(np.flatnonzero(scale == np.argmax(np.bincount(scale)))[: options.runs])


def describe(options: argparse.Namespace, runs: Observations) -> str:
    """One line: where the runs came from, and how many."""
    source = "a planted swarm" if options.folder is None else options.folder.name
    return f"{source}: {len(runs)} runs, {len(runs.domains)} domains, {len(runs.targets)} targets; one thread"


def target_column(runs: Observations, name: str | None) -> int:
    """Where the named target stands; the first one when none is named."""
    if name is None:
        return 0
    if name not in runs.targets.names:
        raise SystemExit(f"there is no target {name!r}; there are {', '.join(runs.targets.names)}")
    return runs.targets.names.index(name)
