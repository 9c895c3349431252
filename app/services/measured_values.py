"""What a trainer measured, as values of the study's targets, each in its target's unit.

Trainers give losses in bits per byte and, where they know it, in nats per token beside it. A target takes the one that
its unit names, and is not measured where the trainer does not know that one: bits are not nats. Metrics have units of
their own and are taken as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy_training.spec import Measured

NATS_PER_TOKEN = "nats_per_token"

# The targets of one study in their order: the unit of each.
Units = Mapping[str, str]


def values_of_targets(
    units: Units, losses: Mapping[str, Measured], metrics: Mapping[str, Measured]
) -> dict[str, dict[str, Any]]:
    """``{target: {"value", "stderr"}}`` of the targets that were measured in their unit."""
    values: dict[str, dict[str, Any]] = {}
    for name, unit in units.items():
        if name in metrics:
            values[name] = _stored(metrics[name].value, metrics[name].stderr)
        elif name in losses and unit != NATS_PER_TOKEN:
            values[name] = _stored(losses[name].value, losses[name].stderr)
        elif name in losses and losses[name].nats_per_token is not None:
            values[name] = _stored(losses[name].nats_per_token, losses[name].nats_per_token_stderr)
    return values


def why_nothing_measured(units: Units, losses: Mapping[str, Measured]) -> str:
    """Why :func:`values_of_targets` found nothing in ``losses``, in one sentence."""
    only_bits = [name for name in units if name in losses]
    if only_bits:
        return (
            f"it measured {', '.join(only_bits)} in bits per byte only, but the study's unit of these targets is "
            f"{NATS_PER_TOKEN}; set their unit to bits_per_byte, or let the agent report nats per token"
        )
    return f"it measured {', '.join(losses)}, but the targets of the study are {', '.join(units)}"


def _stored(value: float | None, stderr: float | None) -> dict[str, Any]:
    return {"value": value, "stderr": stderr}
