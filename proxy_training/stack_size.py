"""How many proxies to train as one: the number that is fastest, unless memory holds fewer.

Stacking saves the cost of launching operations, which only small models feel; on a CPU larger stacks also fall out of
its caches.
"""

from __future__ import annotations

import torch

from proxy_training.free_memory import free_bytes
from proxy_training.precision import DTYPES, expected_precision
from proxy_training.spec import ProxySettings
from proxy_training.stack_memory import stack_memory

# (largest non-embedding parameters, stack): the first row that holds decides; beyond the last one at a time. Measured
# on one thread by benchmarks/stacked_training.py at 0.03M, 0.06M, 0.2M, 1M and 5M; in fp32 a stack at 0.2M was between
# .84 and .96 times as fast as one at a time, in bf16 there is more to save.
_CPU_STACKS = {"fp32": ((120_000, 4),), "bf16": ((50_000, 8), (2_000_000, 4))}
# By arithmetic, not measured: a step launches about 500 operations for four layers, whatever the stack; one launch
# takes some 5 microseconds, and small matrix products reach about 1e14 operations a second. Stacking pays until the
# work of all members takes as long as the launches.
_LAUNCHES_A_LAYER = 125
_LAUNCH_SECONDS = 5e-6
_GPU_FLOPS = 1e14
_LARGEST_GPU_STACK = 32
# Estimates were .82 to .94 of measured peaks (benchmarks/stack_memory.py), and others need memory, too.
_SHARE_OF_FREE = 0.7


def preferred_stack(settings: ProxySettings, device: torch.device) -> int:
    """The number of proxies that train fastest together on ``device`` and fit what is free there now."""
    return min(fastest_stack(settings, device.type), fitting_stack(settings, device.type, free_bytes(device)))


def fastest_stack(settings: ProxySettings, device_type: str) -> int:
    """The number of proxies that train fastest together, were there memory without end."""
    params = settings.model.non_embedding_params
    if device_type == "cpu":
        rows = _CPU_STACKS[expected_precision(settings, device_type)]
        return next((stack for most, stack in rows if params <= most), 1)
    launching = settings.model.n_layers * _LAUNCHES_A_LAYER * _LAUNCH_SECONDS
    working = 6 * params * settings.batch_sequences * settings.model.context / _GPU_FLOPS
    stack = 1
    while stack < _LARGEST_GPU_STACK and stack * working < launching:
        stack *= 2
    return stack


def fitting_stack(settings: ProxySettings, device_type: str, free: int) -> int:
    """The number of proxies that train in ``free`` bytes; 1 even where that may be too many."""
    return max(1, int(_SHARE_OF_FREE * free) // needed_bytes(settings, device_type))


def needed_bytes(settings: ProxySettings, device_type: str, stack: int = 1) -> int:
    """Estimated bytes of a stack at its worst moment."""
    activation_bytes = DTYPES[expected_precision(settings, device_type)].itemsize
    return stack * stack_memory(settings, device_type, activation_bytes).member_bytes
