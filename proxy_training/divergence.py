"""When a run that ended with finite losses has no number all the same.

Both rules look only at domains that the run was trained on: on others an honest run may be as wrong as it likes.

- Exploded: on each of them the loss is ``_BEYOND_UNIFORM_NATS`` above ln V, the loss of the uniform guess. Initial
  weights are at most about 6 above it (logits of variance up to 11.5, at the smallest width), and training lowers the
  loss on at least one domain that it goes through. Runs at rates that are too high by a factor of 100 and more end 50
  to a million nats above it.
- Collapsed: on each of them the loss is ln V to the last digits: all logits are equal, as when activations have grown
  beyond the numbers. Weights that learned something, or were only drawn, are off by a thousandth or more.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from proxy_training.spec import Measured

_BEYOND_UNIFORM_NATS = 16.0
_SAME = 1e-6  # of two losses, relative; fp32 logits that are all equal give ln V to about 1e-7


def why_diverged(losses: Mapping[str, Measured], trained_on: Collection[str], vocab_size: int) -> str | None:
    """What is wrong with the last losses of a run, in words; None for a run that counts."""
    uniform = math.log(vocab_size)
    nats = [loss.nats_per_token for name in trained_on if (loss := losses[name]).nats_per_token is not None]
    if min(nats) > uniform + _BEYOND_UNIFORM_NATS:
        return f"the loss is at least {min(nats):.4g} nats per token where guessing has {uniform:.4g}"
    if all(math.isclose(value, uniform, rel_tol=_SAME) for value in nats):
        return "every token is given the same probability"
    return None
