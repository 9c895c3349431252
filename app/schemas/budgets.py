"""Bodies: what the proxy runs of a study may cost, and what they have cost."""

from __future__ import annotations

from app.schemas.common import Answer


class BudgetRead(Answer):
    """Limits (null is none), what ended attempts have cost, and what the runs in work will cost.

    A run of N parameters on D tokens costs 6ND FLOPs. GPU-hours are what agents report; those of a run in work are
    estimated at the study's rate so far, and are 0 before its first result. ``exhausted`` says that the oldest queued
    run has no room any more, or that nothing is left.
    """

    flops: float | None
    gpu_hours: float | None
    spent_flops: float
    reserved_flops: float
    spent_gpu_hours: float
    reserved_gpu_hours: float
    exhausted: bool
