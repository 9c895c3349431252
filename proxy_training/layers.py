"""What stands between the matrix products of a decoder, each with its gradient in closed form.

The derivatives that autograd composes read and write about three times as much memory, and on a CPU the small models
are bound by that. Notation: K, M, d, f as in ``model.py``.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

NORM_EPS = 1e-6  # keeps the norm of an all-zero row finite


def rms_norm(x: Tensor, gain: Tensor) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * gain over the last axis: (K, M, d) and (K, d) to (K, M, d). Mean and root in fp32."""
    if x.device.type == "cuda":  # one kernel each way
        return F.rms_norm(x, x.shape[-1:], eps=NORM_EPS) * gain[:, None]
    return _RMSNorm.apply(x, gain)  # type: ignore[return-value]


def swiglu(gate_up: Tensor) -> Tensor:
    """silu(gate) * up (Shazeer 2020, GLU Variants Improve Transformer, Eq. 6): (K, M, 2f) to (K, M, f)."""
    return _SwiGLU.apply(gate_up)  # type: ignore[return-value]


class _RMSNorm(torch.autograd.Function):
    """Zhang & Sennrich 2019, Eq. (4)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor) -> Tensor:  # type: ignore[override]
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        scale = norm.square_().div_(x.shape[-1]).add_(NORM_EPS).rsqrt_()
        unit = (x * scale).to(x.dtype)
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


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:  # type: ignore[override]
        gate, up = _halves(gate_up)
        opened = F.silu(gate).to(up.dtype)
        ctx.save_for_backward(gate_up, opened)
        return opened * up

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        gate_up, opened = ctx.saved_tensors
        gate, up = _halves(gate_up)
        grad_gate_up = torch.empty_like(gate_up)
        grad_gate, grad_up = grad_gate_up.chunk(2, dim=-1)
        torch.mul(grad, opened, out=grad_up)
        grad_gate.copy_(torch.ops.aten.silu_backward((grad * up).to(gate.dtype), gate))
        return grad_gate_up


def _halves(gate_up: Tensor) -> tuple[Tensor, Tensor]:
    gate, up = gate_up.chunk(2, dim=-1)
    # PyTorch's silu for CPUs is seven times slower in bf16 than in fp32.
    return (gate.float() if gate.device.type == "cpu" else gate), up
