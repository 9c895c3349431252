"""Swarm folders that tests write themselves, from a law that is known.

loss_j(p) = c_j + exp(b_j . p),  domains web, code and books, targets news and sql, no noise
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

DOMAINS = ("web", "code", "books")
TARGETS = ("news", "sql")
_C = np.array([1.5, 0.6])
_B = np.array([[-0.9, 0.6, 0.1], [0.3, -1.2, 0.5]])

Row = dict[str, object]


def true_losses(p: np.ndarray) -> np.ndarray:
    """Losses of mixtures (m, 3) under the planted law, shape (m, 2)."""
    return _C + np.exp(p @ _B.T)


def mixtures(count: int, seed: int = 0) -> np.ndarray:
    """Random mixtures, shape (count, 3)."""
    return np.random.default_rng(seed).dirichlet(np.ones(3), size=count)


def run_rows(count: int = 24, seed: int = 0) -> list[Row]:
    """Rows of ``runs.csv``, with every number at full precision."""
    p = mixtures(count, seed)
    losses = true_losses(p)
    return [
        {"run_id": f"r{i}", "model_params": 1e6, "train_tokens": 1e9}
        | {f"w:{name}": p[i, j] for j, name in enumerate(DOMAINS)}
        | {f"loss:{name}": losses[i, j] for j, name in enumerate(TARGETS)}
        for i in range(count)
    ]


def domain_rows() -> list[Row]:
    """Rows of ``domains.csv``."""
    return [
        {"domain": "web", "prior": 0.7, "available_tokens": 7e9},
        {"domain": "code", "prior": 0.2, "available_tokens": 2e9},
        {"domain": "books", "prior": 0.1, "available_tokens": 1e9},
    ]


def target_rows() -> list[Row]:
    """Rows of ``targets.csv``."""
    return [{"target": "news", "weight": 1, "family": ""}, {"target": "sql", "weight": 3, "family": "code"}]


def write_rows(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """Write dictionaries as CSV; the first one names the columns."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_swarm(
    folder: Path,
    runs: Sequence[Row] | None = None,
    domains: Sequence[Row] | None = None,
    targets: Sequence[Row] | None = None,
) -> Path:
    """Write a swarm folder; what is not given is the planted one."""
    folder.mkdir(exist_ok=True)
    write_rows(folder / "runs.csv", run_rows() if runs is None else runs)
    write_rows(folder / "domains.csv", domain_rows() if domains is None else domains)
    write_rows(folder / "targets.csv", target_rows() if targets is None else targets)
    return folder
