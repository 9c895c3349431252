"""In which number format a stack computes.

Parameters, both moments, gradients, norms and losses are always fp32. With bf16 the matrix products and what lies
between them are computed in bf16 from a rounded copy of the parameters, made once a step; sums of squares, softmax
and cross-entropy are still taken in fp32 (Micikevicius et al. 2018, Mixed Precision Training, section 3.1).
"""

from __future__ import annotations

from typing import Literal

import torch

from proxy_training.spec import ProxySettings

Precision = Literal["fp32", "bf16"]

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


def precision_of(settings: ProxySettings, device: torch.device) -> Precision:
    """What ``settings.precision`` means on ``device``.

    ``auto`` is bf16 on a GPU that has it and fp32 elsewhere. bf16 that was asked for is bf16 everywhere, so that the
    runs of a swarm stay comparable: a processor without such instructions (avx512_bf16, amx_bf16) works them out one
    by one, to the same numbers but more slowly than fp32.
    """
    expected = expected_precision(settings, device.type)
    if settings.precision == "auto" and expected == "bf16":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return expected


def expected_precision(settings: ProxySettings, device_type: str) -> Precision:
    """What ``settings.precision`` means on a device that is not at hand: a GPU is taken for one that has bf16."""
    if settings.precision != "auto":
        return settings.precision
    return "bf16" if device_type == "cuda" else "fp32"


def use_exact_products() -> None:
    """Let fp32 mean fp32: neither TF32 on a GPU nor bf16 passes on a CPU inside of fp32 matrix products."""
    torch.set_float32_matmul_precision("highest")
