"""Causal attention with rotary positions, for the rows of a whole stack at once.

Notation: N = K B sequences of T tokens, H heads of width w.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

ROTARY_BASE = 10_000.0  # Su et al. 2021, RoFormer, section 3.2.2


def rotation(context: int, heads: int, head_width: int) -> Tensor:
    """What turns queries and keys of T positions: complex (T, 2, H, w / 2), queries first.

    Position t turns pair j, the entries 2j and 2j + 1, by t base^(-2j / w). The queries' factor also holds the
    1 / sqrt(w) of the scores, which costs nothing here. All heads turn alike, yet each has a copy: where PyTorch has to
    repeat rows of so few numbers itself, this product takes six to eight times as long on a CPU.
    """
    frequency = ROTARY_BASE ** (-torch.arange(0, head_width, 2, dtype=torch.float64) / head_width)
    angle = torch.outer(torch.arange(context, dtype=torch.float64), frequency)
    turn = torch.polar(torch.ones_like(angle), angle)
    both = torch.stack([turn / math.sqrt(head_width), turn], dim=1)
    return both[:, :, None].to(torch.complex64).repeat(1, 1, heads, 1)


def attend(query_key_value: Tensor, turn: Tensor) -> Tensor:
    """Causal attention within every sequence: (N, T, 3 H w) to (N, T, H w); ``turn`` as ``rotation`` makes it."""
    (sequences, tokens, triple), heads = query_key_value.shape, turn.shape[2]
    width = triple // 3 // heads
    query_key, value = query_key_value.split([2 * heads * width, heads * width], dim=2)
    # A rotation of a pair is a product of complex numbers: one pass over queries and keys, in fp32.
    pairs = torch.view_as_complex(query_key.float().reshape(sequences, tokens, 2, heads, width // 2, 2))
    turned = torch.view_as_real(pairs * turn).view(sequences, tokens, 2, heads, width)
    value = value.reshape(sequences, tokens, heads, width).transpose(1, 2)  # (N, H, T, w)
    if value.dtype == torch.bfloat16 and value.device.type == "cpu":
        # PyTorch's fused kernel for CPUs is six times slower than this in the backward pass of bf16.
        turned = turned.permute(2, 0, 3, 1, 4).to(value.dtype, memory_format=torch.contiguous_format)
        query, key = turned.flatten(1, 2)
        mixed: Tensor = _Attention.apply(query, key, value.flatten(0, 1))  # type: ignore[assignment]
        mixed = mixed.view(value.shape)
    else:
        query, key = turned.to(value.dtype).transpose(1, 3).unbind(2)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=1.0)
    return mixed.transpose(1, 2).reshape(sequences, tokens, heads * width)


class _Attention(torch.autograd.Function):
    """softmax(q k^T) v with no later token seen, and its gradient; all (N H, T, w)."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:  # type: ignore[override]
        tokens = query.shape[1]
        future = torch.full((tokens, tokens), -math.inf, dtype=query.dtype).triu_(1)
        # The softmax of bf16 scores is worked out in fp32 and rounded once.
        shares = torch.softmax(torch.bmm(query, key.transpose(1, 2)).add_(future), dim=-1)
        ctx.save_for_backward(query, key, value, shares)
        return torch.bmm(shares, value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        query, key, value, shares = ctx.saved_tensors
        grad_shares = torch.bmm(grad, value.transpose(1, 2))
        grad_scores = torch.ops.aten._softmax_backward_data(grad_shares, shares, -1, shares.dtype)
        grad_key = torch.bmm(grad_scores.transpose(1, 2), query)
        return torch.bmm(grad_scores, key), grad_key, torch.bmm(shares.transpose(1, 2), grad)
