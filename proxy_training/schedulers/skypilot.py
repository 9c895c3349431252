"""Agents as managed jobs of SkyPilot: one task is one agent, on spot machines that are replaced when they are taken.

Agents need nothing of each other, so each is a job of its own: in one job of many nodes, the loss of one machine would
stop them all.
"""

from __future__ import annotations

import shlex
from typing import Any, ClassVar

from proxy_training.errors import ProxyError
from proxy_training.schedulers.base import DRAIN_SECONDS, DRAINING_AGENT, AgentJob, Scheduler

_MOUNT = "/corpora"


class SkyPilot(Scheduler):
    """A corpus is a folder here or the address of a bucket. The key is a secret that is given at the launch."""

    name: ClassVar[str] = "skypilot"
    summary: ClassVar[str] = "A task for 'sky jobs launch': an agent on a spot machine."

    def render(self, job: AgentJob) -> str:
        if job.key_from is not None:
            raise ProxyError("SkyPilot takes the key at the launch, --secret MIXWRIGHT_API_KEY; leave --key-from out")
        if job.at_once is not None:
            raise ProxyError("SkyPilot starts every job at once; leave --at-once out")
        if job.gpus.count and job.gpus.kind is None:
            raise ProxyError(f"SkyPilot wants to know the kind of GPU; write --gpus H100:{job.gpus.count}")
        mounts = {f"{_MOUNT}/{number}": corpus for number, corpus in enumerate(job.corpora)}
        task: dict[str, Any] = {
            "name": job.name,
            **({} if job.image else {"workdir": "."}),
            "resources": _resources(job),
            **({"file_mounts": mounts} if mounts else {}),
            "secrets": {"MIXWRIGHT_API_KEY": None},
            **({} if job.image else {"setup": "pip install '.[agent]'\n"}),
            "run": _run(job, list(mounts)),
        }
        place = "" if job.image else "# In a checkout of Mixwright, which the machines install:\n"
        head = (
            f"{place}# for agent in $(seq {job.agents}); do sky jobs launch --yes --async --secret MIXWRIGHT_API_KEY "
            "THIS_FILE; done\n"
        )
        from proxy_training.schedulers.yaml_text import to_yaml

        return head + to_yaml(task)


def _resources(job: AgentJob) -> dict[str, Any]:
    wanted: dict[str, Any] = {"use_spot": True, "job_recovery": {"max_restarts_on_errors": 3}}
    if job.gpus.count:
        wanted["accelerators"] = f"{job.gpus.kind}:{job.gpus.count}"
    if job.image:
        wanted["image_id"] = job.image if job.image.startswith("docker:") else f"docker:{job.image}"
    return wanted


def _run(job: AgentJob, corpora: list[str]) -> str:
    words = ["sh", "-c", DRAINING_AGENT, "mixwright-agent", *job.arguments(corpora)]
    if job.time_limit_seconds is None:
        return shlex.join(words) + "\n"
    # Its end by time is a good one: nothing is to be started again.
    limited = ["timeout", "--signal=TERM", f"--kill-after={DRAIN_SECONDS}", str(job.time_limit_seconds), *words]
    return shlex.join(limited) + " || [ $? -eq 124 ]\n"
