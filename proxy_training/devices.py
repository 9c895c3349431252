"""What this machine trains on: the GPUs that it lets this process see, or its cores."""

from __future__ import annotations

import os
import platform

import torch

from proxy_training.errors import ProxyError
from proxy_training.spec import Processor

GPU_VARIABLE = "CUDA_VISIBLE_DEVICES"
# How schedulers say that a job has no GPU.
_NO_GPU = ("", "-1", "NoDevFiles", "void", "none")


def visible_gpus() -> list[str]:
    """The GPUs at hand, each as CUDA_VISIBLE_DEVICES names it; none on a machine without.

    Raises:
        ProxyError: CUDA_VISIBLE_DEVICES names a GPU that is not there; training on the CPU instead would go unnoticed.
    """
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    value = os.environ.get(GPU_VARIABLE)
    if value is None:
        return [str(number) for number in range(found)]
    if value.strip() in _NO_GPU:
        return []
    named = [name.strip() for name in value.split(",")]
    if len(named) != found:
        cause = f"there are {found} of them" if torch.version.cuda or torch.version.hip else "this PyTorch has no CUDA"
        raise ProxyError(
            f"{GPU_VARIABLE}={value} names {len(named)} GPUs, but {cause}; name those that nvidia-smi -L lists, or none"
        )
    return named


def training_device() -> torch.device:
    """The first GPU, or the CPU where there is none.

    Raises:
        ProxyError: CUDA_VISIBLE_DEVICES names a GPU that is not there.
    """
    return torch.device("cuda" if visible_gpus() else "cpu")


def device_name(device: torch.device) -> str:
    """For people to read."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu, {platform.machine()}, 1 thread"


def processor_of(device_type: str) -> Processor:
    """What the hours on a device of torch's type are hours of."""
    return "cpu" if device_type == "cpu" else "gpu"


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
