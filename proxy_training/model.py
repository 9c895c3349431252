"""A decoder whose every parameter has a leading proxy axis, so that K proxies train as one.

RMSNorm, rotary positions, SwiGLU, a tied or untied head; no biases. All parameters of a proxy lie in one row of one
matrix ``flat``, and the layers see views of it: the optimiser, clipping and checkpoints then work on a single tensor.

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

from proxy_training.spec import ModelSpec

NORM_EPS = 1e-6  # keeps the norm of an all-zero row finite
ROTARY_BASE = 10_000.0  # Su et al. 2021, RoFormer, section 3.2.2
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
        row = torch.randn(self.params, generator=torch.Generator().manual_seed(seed))
        for slot, part in zip(self.slots, row.split(self.sizes), strict=True):
            if slot.std:
                part.mul_(slot.std)
            else:
                part.fill_(1.0)
        return row

    def initial(self, seeds: Sequence[int]) -> Tensor:
        """Initial values of K proxies, (K, P)."""
        return torch.stack([self.initial_row(seed) for seed in seeds])

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
    """
    d, f = spec.d_model, spec.d_ff
    by_d, by_f = BASE_WIDTH / d, _BASE_FEED_FORWARD / f
    to_residual = 1 / math.sqrt(2 * spec.n_layers)
    slots = [Slot("embedding", (spec.vocab_size, d), _EMBEDDING_STD, True)]
    for layer in range(spec.n_layers):
        slots += [
            Slot(f"{layer}.attention_norm", (d,), 0.0, False),
            Slot(f"{layer}.query_key_value", (d, 3 * d), d**-0.5, True, by_d),
            Slot(f"{layer}.attention_out", (d, d), d**-0.5 * to_residual, True, by_d),
            Slot(f"{layer}.feed_forward_norm", (d,), 0.0, False),
            Slot(f"{layer}.gate_up", (d, 2 * f), d**-0.5, True, by_d),
            Slot(f"{layer}.down", (f, d), f**-0.5 * to_residual, True, by_f),
        ]
    slots.append(Slot("final_norm", (d,), 0.0, False))
    if not spec.tied_head:
        slots.append(Slot("head", (spec.vocab_size, d), _EMBEDDING_STD, True))
    return Layout(slots)


class StackedDecoder:
    """The forward pass of K proxies. Holds no parameters: they come in as ``flat``."""

    def __init__(self, spec: ModelSpec, device: torch.device | None = None) -> None:
        self.spec = spec
        self.layout = layout_of(spec)
        self._rotation = _rotation(spec).to(device) if device else _rotation(spec)

    def losses(self, flat: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
        """Nats of every predicted token.

        Args:
            flat: (K, P).
            inputs, labels: int64 (K, B, T); where a label is negative the loss is 0.

        Returns:
            (K, B, T)
        """
        logits = self.logits(flat, inputs)
        nats = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-1, reduction="none")
        return nats.view(labels.shape)

    def logits(self, flat: Tensor, inputs: Tensor) -> Tensor:
        """Scores of every next token: (K, B, T) tokens to (K, B * T, V)."""
        spec, weights = self.spec, self.layout.unpack(flat)
        proxies, context = inputs.shape[0], inputs.shape[2]
        x = _embed(weights["embedding"], inputs.reshape(proxies, -1))  # (K, M, d)
        for layer in range(spec.n_layers):
            h = _rms_norm(x, weights[f"{layer}.attention_norm"])
            h = self._attend(torch.bmm(h, weights[f"{layer}.query_key_value"]), context)
            x = torch.baddbmm(x, h, weights[f"{layer}.attention_out"])
            h = _rms_norm(x, weights[f"{layer}.feed_forward_norm"])
            gate, up = torch.bmm(h, weights[f"{layer}.gate_up"]).split(spec.d_ff, dim=2)
            x = torch.baddbmm(x, F.silu(gate) * up, weights[f"{layer}.down"])
        x = _rms_norm(x, weights["final_norm"] * (BASE_WIDTH / spec.d_model))
        head = weights["embedding" if spec.tied_head else "head"]
        return torch.bmm(x, head.transpose(1, 2))

    def _attend(self, query_key_value: Tensor, context: int) -> Tensor:
        """Causal attention within every sequence: (K, M, 3d) to (K, M, d)."""
        proxies, tokens, _ = query_key_value.shape
        d, heads = self.spec.d_model, self.spec.n_heads
        query_key, value = query_key_value.split([2 * d, d], dim=2)
        # A rotation of the pair (2i, 2i + 1) is a product of complex numbers: one pass over queries and keys.
        pairs = torch.view_as_complex(query_key.reshape(-1, context, 2 * heads, d // heads // 2, 2))
        turned = torch.view_as_real(pairs * self._rotation[:context, None])
        query, key = turned.view(-1, context, 2, heads, d // heads).transpose(1, 3).unbind(2)  # (K B, H, T, d / H)
        value = value.reshape(-1, context, heads, d // heads).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return mixed.transpose(1, 2).reshape(proxies, tokens, d)


def _rotation(spec: ModelSpec) -> Tensor:
    """exp(i t base^(-2j / head width)) for position t and pair j, complex (context, head width / 2)."""
    width = spec.d_model // spec.n_heads
    frequency = ROTARY_BASE ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angle = torch.outer(torch.arange(spec.context, dtype=torch.float64), frequency)
    return torch.polar(torch.ones_like(angle), angle).to(torch.complex64)


def _embed(table: Tensor, tokens: Tensor) -> Tensor:
    """Row lookup in K tables at once: (K, V, d) and (K, M) to (K, M, d)."""
    proxies, vocabulary, width = table.shape
    first_row = torch.arange(proxies, device=tokens.device)[:, None] * vocabulary
    return F.embedding(tokens + first_row, table.reshape(proxies * vocabulary, width))


def _rms_norm(x: Tensor, gain: Tensor) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * gain over the last axis: (K, M, d) and (K, d) to (K, M, d)."""
    return _RMSNorm.apply(x, gain)  # type: ignore[return-value]


class _RMSNorm(torch.autograd.Function):
    """Zhang & Sennrich 2019, Eq. (4), with its gradient in closed form.

    The derivative that autograd composes reads and writes about three times as much memory, and on a CPU the small
    models are bound by that.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor) -> Tensor:  # type: ignore[override]
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        scale = norm.square_().div_(x.shape[-1]).add_(NORM_EPS).rsqrt_()
        unit = x * scale
        ctx.save_for_backward(unit, scale, gain)
        return unit * gain[:, None]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        unit, scale, gain = ctx.saved_tensors
        weighted = grad * unit
        # With u = x scale and g = grad * gain: dx = scale (g - u mean(g u)). The mean is no matrix product on purpose:
        # with a single column it rounds otherwise for one proxy than for several, and Adam makes much of that.
        along = (weighted * gain[:, None]).mean(dim=-1, keepdim=True)
        grad_x = torch.addcmul(grad * gain[:, None], unit, along, value=-1).mul_(scale)
        return grad_x, weighted.sum(dim=1)
