"""Cross-entropy of the next token without ever holding all scores.

K proxies x M tokens x V scores are the largest thing in a training step by far. Here they exist for some tokens at a
time: the gradient with respect to the scores, softmax - onehot, is turned into those of the head and of its input as
soon as the scores are there, in the forward pass. Nothing is computed twice.

Notation: K, M, d, V as in ``model.py``. Scores are fp32 whatever x and the head are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# Scores of a proxy that exist at a time; on a CPU its second cache should hold them. Never dependent on K: sums over
# the chunks would be rounded otherwise in a stack than alone.
_CHUNK_SCORES = {"cpu": 1 << 18, "cuda": 1 << 24}


def token_nats(x: Tensor, head: Tensor, labels: Tensor) -> Tensor:
    """The loss of every token: (K, M, d), (K, V, d) and int64 (K, M) to (K, M); 0 where a label is negative.

    A gradient through this keeps all scores; :func:`mean_nats` does not.
    """
    parts = []
    for rows in _chunks(x, head):
        scores, wanted = torch.bmm(x[:, rows], head.transpose(1, 2)).float(), labels[:, rows]
        nats = F.cross_entropy(scores.flatten(0, 1), wanted.flatten(), ignore_index=-1, reduction="none")
        parts.append(nats.view(wanted.shape))
    return torch.cat(parts, dim=1)


def mean_nats(x: Tensor, head: Tensor, labels: Tensor) -> Tensor:
    """The mean loss of every proxy: (K, M, d), (K, V, d) and int64 (K, M), none negative, to (K,)."""
    return _MeanNats.apply(x, head, labels)  # type: ignore[return-value]


def chunk_tokens(vocabulary: int, device_type: str) -> int:
    """Tokens of a proxy whose scores exist at a time, if it has as many."""
    return max(128, _CHUNK_SCORES.get(device_type, _CHUNK_SCORES["cuda"]) // vocabulary)


def _chunks(x: Tensor, head: Tensor) -> Iterator[slice]:
    rows = chunk_tokens(head.shape[1], x.device.type)
    return (slice(first, first + rows) for first in range(0, x.shape[1], rows))


class _MeanNats(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, head: Tensor, labels: Tensor) -> Tensor:  # type: ignore[override]
        nats = torch.zeros(x.shape[0], dtype=torch.float32, device=x.device)
        grad_x = torch.empty_like(x)
        grad_head = torch.zeros(head.shape, dtype=torch.float32, device=x.device)
        for rows in _chunks(x, head):
            part, wanted = x[:, rows], labels[:, rows, None]
            scores = torch.bmm(part, head.transpose(1, 2)).float()
            shares = torch.softmax(scores, dim=-1)
            # log sum exp from the largest score: its share is at least 1 / V, so that its logarithm is exact enough.
            logsumexp = scores.amax(dim=-1) - shares.amax(dim=-1).log_()
            nats += (logsumexp - scores.gather(2, wanted)[..., 0]).sum(dim=1)
            shares.scatter_add_(2, wanted, shares.new_full((), -1.0).expand(wanted.shape))
            error = shares.to(x.dtype)
            grad_x[:, rows] = torch.bmm(error, head)
            grad_head += torch.bmm(error.transpose(1, 2), part)
        ctx.save_for_backward(grad_x, grad_head)
        return nats / x.shape[1]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        grad_x, grad_head = ctx.saved_tensors
        share = (grad / grad_x.shape[1])[:, None, None]
        return grad_x * share.to(grad_x.dtype), (grad_head * share).to(grad_x.dtype), None
