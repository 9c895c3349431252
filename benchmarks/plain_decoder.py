"""The decoder of ``proxy_training`` as one writes it first: modules, one model, PyTorch's own optimiser.

What the stacked trainer is measured against, and checked against: with the same start and the same batches both have
the same losses.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from proxy_training.model import BASE_WIDTH, layout_of
from proxy_training.spec import ModelSpec, OptimizerSpec


class Block(nn.Module):
    """Pre-norm attention and feed-forward."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        d, f = spec.d_model, spec.d_ff
        self.heads = spec.n_heads
        self.attention_norm = nn.RMSNorm(d, eps=1e-6)
        self.query_key_value = nn.Linear(d, 3 * d, bias=False)
        self.attention_out = nn.Linear(d, d, bias=False)
        self.feed_forward_norm = nn.RMSNorm(d, eps=1e-6)
        if spec.feed_forward == "swiglu":
            self.gate_up = nn.Linear(d, 2 * f, bias=False)
        else:
            self.up = nn.Linear(d, f, bias=False)
        self.gated = spec.feed_forward == "swiglu"
        self.down = nn.Linear(f, d, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, tokens, d = x.shape
        parts = self.query_key_value(self.attention_norm(x)).chunk(3, dim=-1)
        q, k, v = (part.view(batch, tokens, self.heads, -1).transpose(1, 2) for part in parts)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attention_out(mixed.transpose(1, 2).reshape(batch, tokens, d))
        h = self.feed_forward_norm(x)
        if not self.gated:
            return x + self.down(F.gelu(self.up(h)))
        gate, up = self.gate_up(h).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


class PlainDecoder(nn.Module):
    """One proxy.

    Args:
        row: its parameters as the stacked trainer keeps them, (P,).
    """

    def __init__(self, spec: ModelSpec, row: Tensor) -> None:
        super().__init__()
        self.spec = spec
        self.embedding = nn.Embedding(spec.vocab_size, spec.d_model)
        self.blocks = nn.ModuleList(Block(spec) for _ in range(spec.n_layers))
        self.final_norm = nn.RMSNorm(spec.d_model, eps=1e-6)
        self.head = nn.Linear(spec.d_model, spec.vocab_size, bias=False)
        if spec.tied_head:
            self.head.weight = self.embedding.weight
        width = spec.d_model // spec.n_heads
        angle = torch.outer(torch.arange(spec.context), 10_000 ** (-torch.arange(0, width, 2) / width))
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())
        self._load(row)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        x = self.final_norm(x) * (BASE_WIDTH / self.spec.d_model)
        return self.head(x)

    def parameter_groups(self, optimizer: OptimizerSpec) -> list[dict[str, object]]:
        """Matrices and the rest, with the rates that ``proxy_training`` gives them."""
        slots = {slot.name: slot for slot in layout_of(self.spec).slots}
        return [
            {
                "params": [parameter],
                "lr": optimizer.learning_rate * slots[_slot_name(name)].rate_scale,
                "weight_decay": 0.0,
            }
            for name, parameter in self.named_parameters()
        ]

    @torch.no_grad()
    def _load(self, row: Tensor) -> None:
        weights = layout_of(self.spec).unpack(row[None])
        for name, parameter in self.named_parameters():
            value = weights[_slot_name(name)][0]
            # Our matrices map rows, those of nn.Linear columns; the tables of embedding and head are tables in both.
            parameter.copy_(value.T if value.ndim == 2 and name.startswith("blocks") else value)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the pairs (2i, 2i + 1) of every position."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)


def _slot_name(parameter: str) -> str:
    return parameter.removeprefix("blocks.").removesuffix(".weight")
