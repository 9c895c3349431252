"""The decoder that a spec describes, as one writes it first: modules, one model."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BASE_WIDTH, BASE_FEED_FORWARD = 32, 96  # widths that the learning rate of a spec is meant for (muP carries it over)


class Block(nn.Module):
    """Attention and a gated feed-forward layer, each on the normed residual stream."""

    def __init__(self, model: dict) -> None:
        super().__init__()
        d, self.heads = model["d_model"], model["n_heads"]
        self.attention_norm, self.feed_forward_norm = nn.RMSNorm(d, eps=1e-6), nn.RMSNorm(d, eps=1e-6)
        self.query_key_value = nn.Linear(d, 3 * d, bias=False)
        self.attention_out = nn.Linear(d, d, bias=False)
        self.gate_up = nn.Linear(d, 2 * model["d_ff"], bias=False)
        self.down = nn.Linear(model["d_ff"], d, bias=False)

    def forward(self, x: Tensor, rotation: Tensor) -> Tensor:
        batch, context, d = x.shape
        q, k, v = self.query_key_value(self.attention_norm(x)).view(batch, context, 3, self.heads, -1).unbind(2)
        q, k = (turned(part, rotation).transpose(1, 2) for part in (q, k))
        mixed = F.scaled_dot_product_attention(q, k, v.transpose(1, 2), is_causal=True)
        x = x + self.attention_out(mixed.transpose(1, 2).reshape(batch, context, d))
        gate, up = self.gate_up(self.feed_forward_norm(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


def turned(x: Tensor, rotation: Tensor) -> Tensor:
    """Rotary positions: the pair (2i, 2i + 1) of every position is a complex number, turned by the position's angle."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * rotation[:, None]).flatten(-2).type_as(x)


class Decoder(nn.Module):
    """The model that the spec describes."""

    def __init__(self, model: dict) -> None:
        super().__init__()
        d, layers = model["d_model"], model["n_layers"]
        self.embedding = nn.Embedding(model["vocab_size"], d)
        self.blocks = nn.ModuleList(Block(model) for _ in range(layers))
        self.norm = nn.RMSNorm(d, eps=1e-6)
        half = torch.arange(0, d // model["n_heads"], 2) / (d // model["n_heads"])
        angle = torch.outer(torch.arange(model["context"]), 10_000.0**-half)
        self.register_buffer("rotation", torch.polar(torch.ones_like(angle), angle), persistent=False)
        nn.init.normal_(self.embedding.weight, std=0.3)
        for name, weight in self.blocks.named_parameters():
            if weight.ndim == 2:  # matrices that write to the residual stream start smaller, the deeper the model
                smaller = math.sqrt(2 * layers) if name.endswith(("attention_out.weight", "down.weight")) else 1.0
                nn.init.normal_(weight, std=weight.shape[1] ** -0.5 / smaller)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, self.rotation[: tokens.shape[1]])
        return F.linear(self.norm(x) * (BASE_WIDTH / x.shape[-1]), self.embedding.weight)
