"""Swarms whose law is known, for tests of what recovers it."""

from __future__ import annotations

import numpy as np

from mixers.laws import LAWS, Combination, MixingLaw, find_law
from mixers.types import Domains, Observations, Targets


def domains(k: int, available_tokens: np.ndarray | None = None) -> Domains:
    return Domains(
        tuple(f"d{j}" for j in range(k)),
        np.arange(1.0, k + 1),
        np.empty(0) if available_tokens is None else available_tokens,
    )


def mixtures(n: int, k: int, rng: np.random.Generator, concentration: float = 1.0) -> np.ndarray:
    return rng.dirichlet(np.full(k, concentration), size=n)


def observe(
    p: np.ndarray,
    losses: np.ndarray,
    *,
    params: np.ndarray | float = np.nan,
    tokens: np.ndarray | float = np.nan,
    names: tuple[str, ...] = (),
    weights: np.ndarray | None = None,
) -> Observations:
    n, t = losses.shape
    targets = Targets(names or tuple(f"t{i}" for i in range(t)), np.empty(0) if weights is None else weights)
    return Observations(
        domains(p.shape[1]),
        targets,
        p,
        losses,
        np.broadcast_to(params, n).astype(float),
        np.broadcast_to(tokens, n).astype(float),
    )


def log_linear(
    p: np.ndarray, t: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(losses (n, t), c (t,), a (t,), b (t, k)) of y = c + exp(a + b.p) with rows of b centred."""
    c, a = rng.uniform(1.0, 2.0, t), rng.uniform(-0.5, 0.5, t)
    b = rng.normal(0, 1.0, (t, p.shape[1]))
    b = b - b.mean(axis=1, keepdims=True)
    return c + np.exp(a + p @ b.T), c, a, b


def swarm(n: int = 60, k: int = 4, t: int = 3, noise: float = 0.01, seed: int = 0) -> Observations:
    """A noisy log-linear swarm at one scale; all losses positive."""
    rng = np.random.default_rng(seed)
    p = mixtures(n, k, rng)
    losses, *_ = log_linear(p, t, rng)
    return observe(p, losses + rng.normal(0, noise, losses.shape), params=1e6, tokens=1e9)


def scaled_swarm(n: int = 60, k: int = 4, t: int = 3, noise: float = 0.002, seed: int = 0) -> Observations:
    """The log-linear swarm with falling power laws in N and D added: 3 sizes by 3 token counts, every cell used."""
    rng = np.random.default_rng(seed)
    p = mixtures(n, k, rng)
    losses, *_ = log_linear(p, t, rng)
    params = np.array([1e6, 4e6, 16e6])[np.arange(n) % 3]
    tokens = np.array([1e9, 2e9, 4e9])[np.arange(n) // 3 % 3]
    level = 0.5 * (params / 1e6) ** -0.3 + 0.5 * (tokens / 1e9) ** -0.4
    noisy = losses + level[:, None] + rng.normal(0, noise, losses.shape)
    return observe(p, noisy, params=params, tokens=tokens)


def repeated(runs: Observations, times: int) -> Observations:
    """Every run ``times`` times in a row, under ids of its own; mixtures and losses are equal."""
    row = np.repeat(np.arange(len(runs)), times)
    return Observations(
        runs.domains, runs.targets, runs.p[row], runs.losses[row], runs.model_params[row], runs.train_tokens[row]
    )


def law_of(name: str) -> MixingLaw:
    """The registered law; one made of others with few members, so that it costs little."""
    law = find_law(name)
    if isinstance(law, Combination):
        return type(law)([LAWS[member] for member in ("mean", "regmix_linear", "log_linear", "bimix")])
    return law
