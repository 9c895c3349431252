"""Bodies: what the proxy runs of a study may cost, and what they have cost."""

from __future__ import annotations

from app.schemas.common import Answer


class BudgetRead(Answer):
    """Limits (null is none), what ended attempts have cost, and what the runs in work will cost.

    A run of N parameters on D tokens costs 6ND FLOPs. GPU-hours are what agents report of runs on GPUs, CPU-hours what
    they report of runs without one, which no budget of GPU-hours binds. Those of a run in work are of what its agent
    claimed it for, estimated at the study's rate there so far, and are 0 before the first result there.
    ``exhausted`` says that the oldest queued run has no room any more, or that nothing is left, for an agent with a
    GPU; ``exhausted_on_cpu`` says so for one without.
    """

    flops: float | None
    gpu_hours: float | None
    spent_flops: float
    reserved_flops: float
    spent_gpu_hours: float
    reserved_gpu_hours: float
    spent_cpu_hours: float
    reserved_cpu_hours: float
    exhausted: bool
    exhausted_on_cpu: bool
