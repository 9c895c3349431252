"""Training steps of a stack: K proxy runs that share everything but their mixtures and seeds.

The stack is one model to the machine and K models to the mathematics: losses, clipping and moments of a proxy depend
on its own row alone. A proxy whose loss or gradient stops being finite leaves the stack, and no other proxy notices:
on a CPU before its update, on a GPU, which would have to be waited for every time, some steps later.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from proxy_training.corpus_read import Corpus
from proxy_training.errors import SpecError
from proxy_training.evaluate import ValidationSet, evaluate
from proxy_training.model import StackedDecoder
from proxy_training.optimizer import StackedAdamW
from proxy_training.precision import DTYPES, Precision, precision_of, use_exact_products
from proxy_training.sampler import SequenceSampler
from proxy_training.schedules import learning_rate
from proxy_training.spec import Measured, ProxySpec, Stage

# Steps between two looks at who has diverged. On a GPU each look waits until all work that was launched is done.
_LOOK_EVERY = {"cpu": 1, "cuda": 16}


class StackTrainer:
    """K runs in the middle of their training.

    ``members`` are the places in ``specs`` of the runs that are still in the stack; row i of every tensor is
    ``members[i]``. ``precision`` is what it computes in.

    Raises:
        SpecError: the runs cannot share a stack, or do not fit the corpus.
    """

    def __init__(self, specs: Sequence[ProxySpec], corpus: Corpus, device: torch.device) -> None:
        if len({spec.settings.batch_key for spec in specs}) != 1:
            raise SpecError("the runs of one stack must have equal settings; only mixtures and seeds may differ")
        self.settings = specs[0].settings
        self.members = list(range(len(specs)))
        self.step = 0
        self.precision: Precision = precision_of(self.settings, device)
        use_exact_products()
        self.decoder = StackedDecoder(self.settings.model, device, DTYPES[self.precision])
        layout = self.decoder.layout
        self._samplers = [SequenceSampler(corpus, spec) for spec in specs]
        self.steps = self._samplers[0].steps
        self._device = device
        self.flat = layout.initial([spec.draw_seed for spec in specs]).to(device).requires_grad_()
        self.optimizer = StackedAdamW(self.settings.optimizer, self.flat, layout)
        self._healthy = torch.ones(len(specs), dtype=torch.bool, device=device)

    @property
    def step_tokens(self) -> int:
        return self.settings.batch_sequences * self.settings.model.context

    @property
    def train_tokens(self) -> int:
        """Tokens that each member has been trained on."""
        return self.step * self.step_tokens

    def advance(self) -> tuple[Tensor, list[int]]:
        """Do one step. Returns the mean training loss of every row in nats per token, (K,), and who has left it.

        Whoever leaves has diverged. Rows are those of the members before the step.
        """
        inputs, labels = self._batch()
        losses = self.decoder.mean_losses(self.flat, inputs, labels)
        (grad,) = torch.autograd.grad(losses.sum(), self.flat)
        norms = torch.linalg.vector_norm(grad, dim=1)
        self._healthy &= torch.isfinite(losses) & torch.isfinite(norms)
        diverged = self._diverged()
        if diverged:
            rows = self._rows(set(self.members) - set(diverged))
            self.keep(set(self.members) - set(diverged))
            grad, norms = grad[rows], norms[rows]
        rate = learning_rate(self.settings.optimizer, self.step, self.steps)
        self.step += 1
        self.optimizer.update(self.flat.detach(), grad, norms, rate, self.step)
        return losses.detach(), diverged

    def keep(self, members: Collection[int]) -> None:
        """Let all other members leave the stack."""
        rows = self._rows(members)
        self.flat = self.flat.detach()[rows].requires_grad_()
        self.optimizer.keep(rows)
        self._healthy = self._healthy[rows]
        self._samplers = [self._samplers[i] for i in rows.tolist()]
        self.members = [self.members[i] for i in rows.tolist()]

    def restore(self, flat: Tensor, first: Tensor, second: Tensor, step: int) -> None:
        """Go on from saved parameters and moments, each (K, P), of a stack that had done ``step`` steps."""
        self.flat = flat.to(self._device).requires_grad_()
        self.optimizer.first, self.optimizer.second = first.to(self._device), second.to(self._device)
        self.step = step

    def change_weights(self, member: int, weights: Mapping[str, float]) -> None:
        """Train ``member`` on other weights from the next step on.

        Raises:
            SpecError: the weights are no mixture, or the corpus cannot give them.
        """
        self.sampler(member).change_weights(self.step, weights)

    def measure(self, validation: ValidationSet, stopping: Callable[[], bool]) -> list[dict[str, Measured] | None]:
        """The losses of every row; None for one that has diverged.

        Raises:
            MeasurementStopped: ``stopping`` said so.
        """
        return evaluate(self.decoder, self.flat.detach(), validation, stopping)

    def realised(self, member: int) -> tuple[dict[str, float], dict[str, float]]:
        """What the member was really trained on until now: weights, and passes over each domain."""
        sampler = self.sampler(member)
        return sampler.realised_weights(self.step), sampler.epochs(self.step)

    def realised_stages(self, member: int) -> tuple[Stage, ...]:
        """What each stage of the member was really trained on until now; nothing where its weights never change."""
        sampler = self.sampler(member)
        return sampler.realised_stages(self.step) if len(sampler.stages) > 1 else ()

    def sampler(self, member: int) -> SequenceSampler:
        """What the member is trained on."""
        return self._samplers[self.members.index(member)]

    def _batch(self) -> tuple[Tensor, Tensor]:
        tokens = torch.from_numpy(np.stack([sampler.batch(self.step) for sampler in self._samplers]))  # (K, B, T + 1)
        if self._device.type == "cuda":  # pinned memory is copied while earlier steps are still being computed
            tokens = tokens.pin_memory().to(self._device, non_blocking=True)
        return tokens[:, :, :-1], tokens[:, :, 1:]

    def _diverged(self) -> list[int]:
        """The members that were not healthy in this step or an earlier one, when it is time to look."""
        every = _LOOK_EVERY.get(self._device.type, 1)
        if (self.step + 1) % every and self.step + 1 < self.steps:
            return []
        return [member for member, fine in zip(self.members, self._healthy.tolist(), strict=True) if not fine]

    def _rows(self, members: Collection[int]) -> Tensor:
        """The rows of some members, int64."""
        rows = [i for i, member in enumerate(self.members) if member in members]
        return torch.tensor(rows, dtype=torch.long, device=self._device)
