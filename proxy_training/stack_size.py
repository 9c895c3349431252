"""How many proxies to train as one.

Stacking saves the cost of launching operations, which only small models feel; on a CPU larger stacks also fall out of
its caches. ``benchmarks/stacked_training.py`` measures what is stated here.
"""

from __future__ import annotations

import torch

from proxy_training.spec import ModelSpec

# (largest non-embedding parameters, stack): the first row that holds decides; beyond the last one at a time.
_STACKS = {
    "cpu": ((120_000, 4), (400_000, 2)),
    "cuda": ((2_000_000, 16), (8_000_000, 8), (30_000_000, 4)),
}


def preferred_stack(model: ModelSpec, device: torch.device) -> int:
    """The number of proxies of ``model`` that train fastest together on ``device``."""
    for params, stack in _STACKS.get(device.type, ()):
        if model.non_embedding_params <= params:
            return stack
    return 1
