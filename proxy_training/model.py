"""A decoder whose every parameter has a leading proxy axis, so that K proxies train as one.

RMSNorm, rotary positions, SwiGLU or GELU (the exact one, x Phi(x)), a tied or untied head; no biases. All parameters of
a proxy lie in one row of one matrix ``flat``, and the layers see views of it: the optimiser, clipping and checkpoints
then work on a single tensor.

Notation: K proxies, P parameters of a proxy, B sequences, T tokens of a sequence, M = B T, d width, H heads,
f feed-forward width, V vocabulary. Proxies never mix: row i of any output depends on row i of ``flat`` alone, and
no operation is used that rounds a row otherwise when K changes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from proxy_training.attention import attend, rotation
from proxy_training.head_loss import mean_nats, token_nats
from proxy_training.layers import rms_norm, swiglu
from proxy_training.spec import ModelSpec

# Chosen together with the default rates of OptimizerSpec for the lowest loss of the default model after 65k and 131k
# tokens. A small model sees few steps: an embedding that starts small spends them on growing.
_EMBEDDING_STD = 0.3
# Widths at which every rate scale is 1: those of the default model.
BASE_WIDTH, _BASE_FEED_FORWARD = 32, 96


@dataclass(frozen=True)
class Slot:
    """One parameter of a proxy: where its initial values come from, and how the optimiser treats it."""

    name: str
    shape: tuple[int, ...]
    std: float  # of the initial normal draw; 0 means ones (a gain)
    decayed: bool
    rate_scale: float = 1.0  # of the learning rate

    @property
    def size(self) -> int:
        return math.prod(self.shape)


class Layout:
    """Where each parameter lies in a row of P numbers."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self.slots = tuple(slots)
        self.sizes = [slot.size for slot in self.slots]
        self.params = sum(self.sizes)

    def unpack(self, flat: Tensor) -> dict[str, Tensor]:
        """The parameters by name, each (K, *shape); views of ``flat`` (K, P)."""
        # One split, whose backward is one concatenation; slices would each fill a gradient of all P numbers.
        parts = flat.split(self.sizes, dim=1)
        return {slot.name: part.unflatten(1, slot.shape) for slot, part in zip(self.slots, parts, strict=True)}

    def initial_row(self, seed: int) -> Tensor:
        """The P initial values of a proxy. They depend on the seed alone, not on its place in a stack."""
        return self.initial([seed])[0]

    def initial(self, seeds: Sequence[int]) -> Tensor:
        """Initial values of K proxies, (K, P)."""
        flat = torch.empty(len(seeds), self.params)
        for seed, row in zip(seeds, flat, strict=True):
            row.normal_(generator=torch.Generator().manual_seed(seed))
            for slot, part in zip(self.slots, row.split(self.sizes), strict=True):
                if slot.std:
                    part.mul_(slot.std)
                else:
                    part.fill_(1.0)
        return flat

    def decay_mask(self) -> Tensor:
        """1 where weight decay applies (matrices), 0 where not (gains), (P,)."""
        return torch.cat([torch.full((slot.size,), float(slot.decayed)) for slot in self.slots])

    def rate_scale(self) -> Tensor:
        """The factor on the learning rate of every number, (P,)."""
        return torch.cat([torch.full((slot.size,), slot.rate_scale) for slot in self.slots])


def layout_of(spec: ModelSpec) -> Layout:
    """The parameters of a model, embedding first.

    Matrices map rows: (in, out). They start at 1/sqrt(in); those that write to the residual stream are divided by
    sqrt(2 n_layers), so that its variance does not grow with depth (Radford et al. 2019, GPT-2, section 2.3).

    One learning rate serves all widths (Yang et al. 2022, Tensor Programs V, table 8, Adam): the rate of a matrix goes
    with 1/in, that of embedding, head and gains stays, and the head's output is divided by the width.
    ``benchmarks/rate_transfer.py`` found the best rates .020, .019 and .018 at widths 32, 64 and 128. Scores of
    attention are divided by the root of the head's width, not by that width: presets widen heads to 64 at most and
    then grow by their number. For depth there is only the factor above, and nothing here corrects for the tokens of a
    step or the number of steps: from 2 to 6 layers, and from 64 to 256 steps, the best rate fell from .019 to .016, and
    deep models bear rates above it much worse. Where those change more, tune the rate again.
    """
    d, f = spec.d_model, spec.d_ff
    by_d, by_f = BASE_WIDTH / d, _BASE_FEED_FORWARD / f
    to_residual = 1 / math.sqrt(2 * spec.n_layers)
    into, hidden = ("gate_up", 2 * f) if spec.feed_forward == "swiglu" else ("up", f)
    slots = [Slot("embedding", (spec.vocab_size, d), _EMBEDDING_STD, True)]
    for layer in range(spec.n_layers):
        slots += [
            Slot(f"{layer}.attention_norm", (d,), 0.0, False),
            Slot(f"{layer}.query_key_value", (d, 3 * d), d**-0.5, True, by_d),
            Slot(f"{layer}.attention_out", (d, d), d**-0.5 * to_residual, True, by_d),
            Slot(f"{layer}.feed_forward_norm", (d,), 0.0, False),
            Slot(f"{layer}.{into}", (d, hidden), d**-0.5, True, by_d),
            Slot(f"{layer}.down", (f, d), f**-0.5 * to_residual, True, by_f),
        ]
    slots.append(Slot("final_norm", (d,), 0.0, False))
    if not spec.tied_head:
        slots.append(Slot("head", (spec.vocab_size, d), _EMBEDDING_STD, True))
    return Layout(slots)


class StackedDecoder:
    """The forward pass of K proxies. Holds no parameters: they come in as ``flat``, always fp32.

    Args:
        dtype: of matrix products and activations.
    """

    def __init__(self, spec: ModelSpec, device: torch.device | None = None, dtype: torch.dtype = torch.float32) -> None:
        self.spec = spec
        self.layout = layout_of(spec)
        self.dtype = dtype
        turn = rotation(spec.context, spec.n_heads, spec.d_model // spec.n_heads)
        self._turn = turn.to(device or torch.device("cpu"))

    def mean_losses(self, flat: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
        """Nats a token, for training: (K, P) and int64 (K, B, T), no label negative, to (K,)."""
        x, head = self._head_input(flat, inputs)
        return mean_nats(x, head, labels.flatten(1))

    def losses(self, flat: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
        """Nats of every predicted token, for measuring.

        Args:
            flat: (K, P).
            inputs, labels: int64 (K, B, T); where a label is negative the loss is 0.

        Returns:
            (K, B, T), fp32.
        """
        x, head = self._head_input(flat, inputs)
        return token_nats(x, head, labels.flatten(1)).view(labels.shape)

    def logits(self, flat: Tensor, inputs: Tensor) -> Tensor:
        """Scores of every next token: (K, B, T) tokens to (K, B * T, V)."""
        x, head = self._head_input(flat, inputs)
        return torch.bmm(x, head.transpose(1, 2))

    def _head_input(self, flat: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """What the head sees, (K, M, d), and the head, (K, V, d)."""
        spec = self.spec
        table, weights = self._weights(flat)
        proxies, context = inputs.shape[0], inputs.shape[2]
        turn = self._turn[:context]
        x = _embed(table, inputs.reshape(proxies, -1)).to(self.dtype)  # (K, M, d)
        for layer in range(spec.n_layers):
            h = rms_norm(x, weights[f"{layer}.attention_norm"])
            h = torch.bmm(h, weights[f"{layer}.query_key_value"])
            h = attend(h.view(-1, context, 3 * spec.d_model), turn).view(x.shape)
            x = torch.baddbmm(x, h, weights[f"{layer}.attention_out"])
            h = rms_norm(x, weights[f"{layer}.feed_forward_norm"])
            x = torch.baddbmm(x, self._feed_forward(h, weights, layer), weights[f"{layer}.down"])
        x = rms_norm(x, weights["final_norm"] * (BASE_WIDTH / spec.d_model))
        return x, weights["embedding" if spec.tied_head else "head"]

    def _feed_forward(self, h: Tensor, weights: dict[str, Tensor], layer: int) -> Tensor:
        """The hidden units: (K, M, d) to (K, M, f)."""
        if self.spec.feed_forward == "swiglu":
            return swiglu(torch.bmm(h, weights[f"{layer}.gate_up"]))
        return F.gelu(torch.bmm(h, weights[f"{layer}.up"]))

    def _weights(self, flat: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The embedding in fp32, where the gradients of many equal tokens meet, and all parameters in ``dtype``."""
        table, *parts = _Parts.apply(flat, self.layout.sizes, self.dtype)  # type: ignore[misc]
        slots = self.layout.slots
        named = {slot.name: part.unflatten(1, slot.shape) for slot, part in zip(slots, parts, strict=True)}
        return table.unflatten(1, slots[0].shape), named


class _Parts(torch.autograd.Function):
    """(K, P) to its first part as it is and to every part in ``dtype``.

    The gradients of the parts, each in ``dtype``, are written straight into one of (K, P) in fp32.
    """

    @staticmethod
    def forward(ctx: Any, flat: Tensor, sizes: list[int], dtype: torch.dtype) -> tuple[Tensor, ...]:  # type: ignore[override]
        ctx.sizes = sizes
        return flat[:, : sizes[0]], *flat.to(dtype).split(sizes, dim=1)

    @staticmethod
    def backward(ctx: Any, table_grad: Tensor, *grads: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        flat_grad = table_grad.new_empty(len(table_grad), sum(ctx.sizes))
        into = flat_grad.split(ctx.sizes, dim=1)
        for part, grad in zip(into, grads, strict=True):
            part.copy_(grad)
        into[0].add_(table_grad)
        return flat_grad, None, None


def _embed(table: Tensor, tokens: Tensor) -> Tensor:
    """Row lookup in K tables at once: (K, V, d) and (K, M) to (K, M, d)."""
    proxies, vocabulary, width = table.shape
    first_row = torch.arange(proxies, device=tokens.device)[:, None] * vocabulary
    return F.embedding(tokens + first_row, table.reshape(proxies * vocabulary, width))
