"""The decoder of ``proxy_training`` as one writes it first: modules, one model, PyTorch's own optimiser.

What the stacked trainer is measured against, and checked against: with the same start and the same batches both have
the same losses.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from proxy_training.model import BASE_WIDTH, layout_of
from proxy_training.precision import Precision
from proxy_training.schedules import learning_rate
from proxy_training.spec import ModelSpec, OptimizerSpec, ProxySpec


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


class PlainTraining:
    """The loop that everyone writes: fused AdamW, clipping, a rate a step; bf16 by autocast.

    Args:
        spec: the run. precision: fp32 or bf16. compiled: through ``torch.compile``.
        capturable: so that a step can be captured in a CUDA graph; the rate then stays at its peak.
    """

    def __init__(
        self,
        spec: ProxySpec,
        device: torch.device,
        precision: Precision = "fp32",
        compiled: bool = False,
        capturable: bool = False,
    ) -> None:
        self.settings, self._device, self._capturable = spec.settings, device, capturable
        rates = self.settings.optimizer
        self.model = PlainDecoder(self.settings.model, layout_of(self.settings.model).initial_row(spec.draw_seed)).to(
            device
        )
        self._forward = torch.compile(self.model) if compiled else self.model
        self._optimizer = torch.optim.AdamW(
            self.model.parameter_groups(rates), betas=(rates.beta1, rates.beta2), fused=True, capturable=capturable
        )
        self._peak = [group["lr"] for group in self._optimizer.param_groups]
        self._half = precision == "bf16"
        self._step, self._steps = (
            0,
            self.settings.train_tokens // (self.settings.batch_sequences * self.settings.model.context),
        )

    def step(self, tokens: Tensor) -> Tensor:
        """One step on int64 (B, T + 1) of the same device; the loss before it, in nats per token."""
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half, cache_enabled=not self._capturable):
            scores = self._forward(tokens[:, :-1])
        loss = F.cross_entropy(scores.flatten(0, 1).float(), tokens[:, 1:].flatten())
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.optimizer.grad_clip)
        if not self._capturable:
            rates = self.settings.optimizer
            share = learning_rate(rates, self._step, self._steps) / rates.learning_rate
            for group, rate in zip(self._optimizer.param_groups, self._peak, strict=True):
                group["lr"] = rate * share
        self._optimizer.step()
        self._step += 1
        return loss.detach()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the pairs (2i, 2i + 1) of every position."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)


def _slot_name(parameter: str) -> str:
    return parameter.removeprefix("blocks.").removesuffix(".weight")
