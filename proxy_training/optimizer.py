"""AdamW on the rows of one matrix, each row clipped by its own norm.

Notation: K proxies, P parameters, as in ``model.py``. Kingma & Ba 2015, Algorithm 1; Loshchilov & Hutter 2019,
Algorithm 2 (decoupled decay).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from proxy_training.model import Layout
from proxy_training.spec import OptimizerSpec

_EPS = 1e-8  # keeps the step finite where no gradient was ever seen
# Numbers that go through the whole update before the next ones do: on a CPU, six arrays of them fit its second cache.
_CPU_BLOCK = 1 << 15


class StackedAdamW:
    """The moments of K proxies. Rows never touch each other.

    Args:
        spec: rates and bounds, the same for every proxy of a stack.
        like: the parameters, (K, P); only shape and device are used.
        layout: which parameters decay, and the factors on their rates.
    """

    def __init__(self, spec: OptimizerSpec, like: Tensor, layout: Layout) -> None:
        self.spec = spec
        self._rate_scale = layout.rate_scale().to(like.device)
        self._decay = layout.decay_mask().to(like.device) * spec.weight_decay
        self.first = torch.zeros_like(like)
        self.second = torch.zeros_like(like)

    def keep(self, rows: Tensor) -> None:
        """Forget all rows but these."""
        self.first, self.second = self.first[rows], self.second[rows]

    @torch.no_grad()
    def update(self, flat: Tensor, grad: Tensor, norms: Tensor, rate: float, count: int) -> None:
        """Move ``flat`` by one step, in place. ``grad`` is used up.

        Args:
            flat, grad: (K, P). norms: the norm of every row of ``grad``, (K,).
            rate: the learning rate of this step.
            count: how many steps there were, this one included; from 1.
        """
        clip = (self.spec.grad_clip / norms.clamp(min=self.spec.grad_clip))[:, None]
        proxies, params = flat.shape
        width = params if flat.device.type == "cuda" else max(1, _CPU_BLOCK // max(1, proxies))
        for start in range(0, params, width):
            columns = slice(start, start + width)
            self._move(flat[:, columns], grad[:, columns].mul_(clip), columns, rate, count)

    def _move(self, flat: Tensor, grad: Tensor, columns: slice, rate: float, count: int) -> None:
        """The update of some columns, whose clipped gradient is ``grad``; all (K, columns)."""
        spec, first, second = self.spec, self.first[:, columns], self.second[:, columns]
        first.lerp_(grad, 1 - spec.beta1)
        second.mul_(spec.beta2).addcmul_(grad, grad, value=1 - spec.beta2)
        if spec.weight_decay:
            flat.mul_(1 - rate * self._decay[columns])
        # Both corrections of the bias in one factor: first / (sqrt(second) / root + eps) is root times the quotient.
        root = math.sqrt(1 - spec.beta2**count)
        spread = torch.sqrt(second, out=grad).add_(_EPS * root).div_(self._rate_scale[columns])
        flat.addcdiv_(first, spread, value=-rate * root / (1 - spec.beta1**count))
