"""Training steps of a stack: K proxy runs that share everything but their mixtures and seeds.

The stack is one model to the machine and K models to the mathematics: losses, clipping and moments of a proxy depend
on its own row alone. A proxy whose loss or gradient stops being finite leaves the stack before its update, so that no
other proxy notices.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from proxy_training.corpus_read import Corpus
from proxy_training.errors import SpecError
from proxy_training.evaluate import ValidationSet, evaluate
from proxy_training.model import StackedDecoder
from proxy_training.optimizer import StackedAdamW
from proxy_training.sampler import SequenceSampler
from proxy_training.schedules import learning_rate
from proxy_training.spec import Measured, ProxySpec


class StackTrainer:
    """K runs in the middle of their training.

    ``members`` are the places in ``specs`` of the runs that are still in the stack; row i of every tensor is
    ``members[i]``.

    Raises:
        SpecError: the runs cannot share a stack, or do not fit the corpus.
    """

    def __init__(self, specs: Sequence[ProxySpec], corpus: Corpus, device: torch.device) -> None:
        if len({spec.settings.batch_key for spec in specs}) != 1:
            raise SpecError("the runs of one stack must have equal settings; only mixtures and seeds may differ")
        self.settings = specs[0].settings
        self.members = list(range(len(specs)))
        self.step = 0
        self.decoder = StackedDecoder(self.settings.model, device)
        layout = self.decoder.layout
        self._samplers = [SequenceSampler(corpus, spec) for spec in specs]
        self.steps = self._samplers[0].steps
        self._device = device
        self.flat = layout.initial([spec.seed for spec in specs]).to(device).requires_grad_()
        self.optimizer = StackedAdamW(self.settings.optimizer, self.flat, layout)

    @property
    def step_tokens(self) -> int:
        return self.settings.batch_sequences * self.settings.model.context

    @property
    def train_tokens(self) -> int:
        """Tokens that each member has been trained on."""
        return self.step * self.step_tokens

    def advance(self) -> tuple[Float[np.ndarray, " K"], list[int]]:
        """Do one step. Returns the mean training loss of every row in nats per token, and who diverged and left."""
        inputs, labels = self._batch()
        losses = self.decoder.losses(self.flat, inputs, labels).mean(dim=(1, 2))
        (grad,) = torch.autograd.grad(losses.sum(), self.flat)
        norms = torch.linalg.vector_norm(grad, dim=1)
        healthy = (torch.isfinite(losses) & torch.isfinite(norms)).tolist()
        diverged = [member for member, fine in zip(self.members, healthy, strict=True) if not fine]
        if diverged:
            rows = torch.tensor([i for i, fine in enumerate(healthy) if fine], dtype=torch.long, device=self._device)
            self.keep(set(self.members) - set(diverged))
            grad, norms = grad[rows], norms[rows]
        rate = learning_rate(self.settings.optimizer, self.step, self.steps)
        self.step += 1
        self.optimizer.update(self.flat.detach(), grad, norms, rate, self.step)
        return losses.detach().cpu().numpy(), diverged

    def keep(self, members: Collection[int]) -> None:
        """Let all other members leave the stack."""
        kept = [i for i, member in enumerate(self.members) if member in members]
        rows = torch.tensor(kept, dtype=torch.long, device=self._device)
        self.flat = self.flat.detach()[rows].requires_grad_()
        self.optimizer.keep(rows)
        self._samplers = [self._samplers[i] for i in kept]
        self.members = [self.members[i] for i in kept]

    def restore(self, flat: Tensor, first: Tensor, second: Tensor, step: int) -> None:
        """Go on from saved parameters and moments, each (K, P), of a stack that had done ``step`` steps."""
        self.flat = flat.to(self._device).requires_grad_()
        self.optimizer.first, self.optimizer.second = first.to(self._device), second.to(self._device)
        self.step = step

    def measure(self, validation: ValidationSet, stopping: Callable[[], bool]) -> list[dict[str, Measured] | None]:
        """The losses of every row; None for one that has diverged.

        Raises:
            MeasurementStopped: ``stopping`` said so.
        """
        return evaluate(self.decoder, self.flat.detach(), validation, stopping)

    def realised(self, member: int) -> tuple[dict[str, float], dict[str, float]]:
        """What the member was really trained on until now: weights, and passes over each domain."""
        sampler = self._samplers[self.members.index(member)]
        return sampler.realised_weights(self.step), sampler.epochs(self.step)

    def _batch(self) -> tuple[Tensor, Tensor]:
        rows = np.stack([sampler.batch(self.step) for sampler in self._samplers])  # (K, B, T + 1)
        tokens = torch.from_numpy(rows).to(self._device)
        return tokens[:, :, :-1], tokens[:, :, 1:]
