"""Which schedulers agents can be started by. A new one is one file here and one line in ``SCHEDULERS``."""

from __future__ import annotations

from proxy_training.schedulers.base import Scheduler
from proxy_training.schedulers.kubernetes import Kubernetes
from proxy_training.schedulers.skypilot import SkyPilot
from proxy_training.schedulers.slurm import Slurm

SCHEDULERS: dict[str, Scheduler] = {scheduler.name: scheduler for scheduler in (Slurm(), Kubernetes(), SkyPilot())}
