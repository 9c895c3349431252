"""A training that ran out of memory and was told so by its allocator, as in most cases on a GPU."""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch

from proxy_training.engines.halving import Shortage
from proxy_training.free_memory import free_bytes
from proxy_training.spec import ProxySettings
from proxy_training.stack_size import needed_bytes

# What the allocators of the CPU and of CUDA libraries say in a plain RuntimeError.
_SHORTAGES = ("can't allocate memory", "not enough memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
_SHOWN_CHARACTERS = 200
_GIB = 2**30


def shortage_in(train: Callable[[], None], settings: ProxySettings, device: torch.device) -> Shortage | None:
    """Train on ``device``; what was missing if memory was short. What the training held is then free again."""
    said = _said(train)
    if said is None:
        return None
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    needed, free = needed_bytes(settings, device.type), free_bytes(device)
    return Shortage(
        said,
        f"a run with these settings does not fit the memory even alone: it needs about {needed / _GIB:.1f} GiB, "
        f"and {free / _GIB:.1f} GiB of {device.type} memory are free ({said})",
    )


def _said(train: Callable[[], None]) -> str | None:
    """Train; what the allocator said. Returns, so that nothing holds the failed stack any more."""
    try:
        train()
    except (MemoryError, RuntimeError) as error:
        if not _is_shortage(error):
            raise
        said = str(error).splitlines() or [type(error).__name__]
        return said[0][:_SHOWN_CHARACTERS]
    return None


def _is_shortage(error: MemoryError | RuntimeError) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(words in str(error) for words in _SHORTAGES)
