"""MixMin (ICML 2025): the mixture of domains from one small model a domain, without a single run on a mixture.

The best predictor of a mixture of domains is the mixture of the domains' best predictors. So the models' sequence log
probabilities s_i(x) of held-out target text foretell the loss of training on weights p,

    y_t(p) = -mean over x in t of log( sum_i p_i exp s_i(x) ) / l(x)       nats per token, l(x) tokens in x

which is convex in p: minimised over the mean of the targets (MixMin), or over the worst of them (MixMax). Without the
lengths it is the likelihood of mixture weights, whose maximum expectation maximisation finds too. The paper descends by
p_i <- p_i exp(-rate g_i) / Z until the gradient g vanishes, which it never does on a simplex; here the solver of all
convex laws ends with a duality gap, and takes any feasible set.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from mixers.errors import InvalidInput
from mixers.laws.base import FittedLaw, Form
from mixers.objectives import Objective, WorstExcess
from mixers.optimizers import minimize_objective
from mixers.simplex import FeasibleSet
from mixers.types import Prediction, Scale, Solution

# Many mixtures are predicted so many numbers at a time.
_BLOCK = 2**22


@dataclass(frozen=True)
class DomainModels(FittedLaw):
    """What the models of k domains say of n sequences.

    Args:
        log_probs: s_i(x), the natural logarithm of the probability of the whole sequence, shape (n, k).
        tokens: l(x), shape (n,). target: which target a sequence belongs to, shape (n,).
    """

    law: ClassVar[str] = "mixmin"
    domain_names: tuple[str, ...]
    target_names: tuple[str, ...]
    log_probs: Float[np.ndarray, "n k"]
    tokens: Float[np.ndarray, " n"]
    target: Int[np.ndarray, " n"]

    def __post_init__(self) -> None:
        n, k = self.log_probs.shape
        if k != len(self.domain_names) or self.tokens.shape != (n,) or self.target.shape != (n,):
            raise InvalidInput(
                f"log probabilities of shape {self.log_probs.shape}, {len(self.tokens)} lengths and "
                f"{len(self.target)} targets do not fit {len(self.domain_names)} domains"
            )
        if not np.isfinite(self.log_probs).all() or not (self.tokens > 0).all():
            raise InvalidInput("log probabilities must be finite, and every sequence needs a token")
        missing = set(range(len(self.target_names))) - set(self.target.tolist())
        if missing or self.target.min() < 0 or self.target.max() >= len(self.target_names):
            raise InvalidInput(f"each of the {len(self.target_names)} targets needs sequences of its own, and no other")

    @cached_property
    def _best(self) -> np.ndarray:
        """The largest log probability of each sequence (n,)."""
        return self.log_probs.max(axis=1)

    @cached_property
    def _odds(self) -> np.ndarray:
        """Probabilities relative to the largest (n, k)."""
        return np.exp(self.log_probs - self._best[:, None])

    @cached_property
    def _share(self) -> np.ndarray:
        """What a sequence counts for a target, (t, n): one over the sequences of the target and its own tokens."""
        member = (self.target == np.arange(len(self.target_names))[:, None]).astype(float)
        return member / (member.sum(axis=1, keepdims=True) * self.tokens)

    @property
    def form(self) -> Form:
        return Form.CONVEX

    def predict(self, p: Float[np.ndarray, "*batch k"], scale: Scale) -> Prediction:
        """Mean losses, and their standard errors over the sequences."""
        del scale  # that of the models
        rows = p.reshape(-1, p.shape[-1])
        mean, std = np.empty((len(rows), len(self.target_names))), np.empty((len(rows), len(self.target_names)))
        size = max(1, _BLOCK // len(self.tokens))
        for first in range(0, len(rows), size):
            part = slice(first, first + size)
            loss = -(self._best[:, None] + np.log(np.maximum(self._odds @ rows[part].T, 1e-300)))
            mean[part] = (self._share @ loss).T
            for j in range(len(self.target_names)):
                own = self.target == j
                per_token = loss[own] / self.tokens[own, None]
                std[part, j] = per_token.std(axis=0) / np.sqrt(max(int(own.sum()) - 1, 1))
        shape = (*p.shape[:-1], len(self.target_names))
        return Prediction(mean.reshape(shape), std.reshape(shape))

    def value_and_gradient(
        self, p: Float[np.ndarray, " k"], scale: Scale
    ) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, "t k"]]:
        """Means and their derivatives -mean of P_i(x) / (sum_j p_j P_j(x)) / l(x)."""
        del scale
        mixed = np.maximum(self._odds @ p, 1e-300)
        return -self._share @ (self._best + np.log(mixed)), -(self._share / mixed) @ self._odds


def mixmin(models: DomainModels, feasible: FeasibleSet, rng: np.random.Generator, worst: bool = False) -> Solution:
    """The feasible weights with the least mean loss of the targets or, when ``worst``, the least largest loss."""
    t = len(models.target_names)
    excess = WorstExcess(np.eye(t), np.zeros(t)) if worst else None
    objective = Objective(models, Scale.unknown(), np.ones(t), 0.0, feasible.domains.prior, worst=excess)
    return minimize_objective(objective, feasible, rng)
