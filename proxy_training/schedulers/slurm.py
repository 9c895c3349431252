"""Agents as a Slurm array job (sbatch): one array element is one agent.

The agent runs as a job step: Slurm signals steps, and not the batch script, at preemption, before the time limit and on
scancel. An agent that was told to stop puts its element back into the queue, as ``--requeue`` does for one whose node
was lost; scancel ends the batch script as well, so that a cancelled job stays cancelled.
"""

from __future__ import annotations

import shlex
from typing import ClassVar

from proxy_training.errors import ProxyError
from proxy_training.schedulers.base import DRAIN_SECONDS, DRAINING_AGENT, STOPPED, AgentJob, Scheduler

_KEY_FILE = "$HOME/.mixwright-key"


class Slurm(Scheduler):
    """Corpora are folders that every node sees; ``key_from`` is a file with nothing but the key in it."""

    name: ClassVar[str] = "slurm"
    summary: ClassVar[str] = "An sbatch script: an array job of agents."

    def render(self, job: AgentJob) -> str:
        command = shlex.join(["sh", "-c", DRAINING_AGENT, "mixwright-agent", *job.arguments(job.corpora)])
        key_file = f'"{_KEY_FILE}"' if job.key_from is None else shlex.quote(job.key_from)
        directives = "".join(f"#SBATCH {directive}\n" for directive in _directives(job))
        return f"""\
#!/bin/bash
{directives}
# sbatch THIS_FILE starts {job.agents} agents; each ends when the service has no work left.
# The API key comes from MIXWRIGHT_API_KEY of the submitting shell, or from this file (chmod 600):
set -u
key_file={key_file}
if [ -z "${{MIXWRIGHT_API_KEY:-}}" ]; then
    MIXWRIGHT_API_KEY=$(cat -- "$key_file") || exit 78  # cat has said what is wrong with the file
fi
export MIXWRIGHT_API_KEY

srun {_container(job)}{command}
code=$?
# Told to stop: by preemption, or because its time was up. It has given its runs back and goes on in the queue.
if [ "$code" -eq {STOPPED} ]; then
    scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}"
fi
exit "$code"
"""


def _directives(job: AgentJob) -> list[str]:
    at_once = f"%{job.at_once}" if job.at_once else ""
    wanted = [
        f"--job-name={job.name}",
        f"--array=0-{job.agents - 1}{at_once}",
        "--ntasks=1",
        f"--output={job.name}-%A_%a.log",
        "--open-mode=append",  # an element that was requeued goes on in its log
        "--requeue",
        f"--signal=TERM@{2 * DRAIN_SECONDS}",  # Slurm may be late by a minute
    ]
    if job.gpus.count:
        wanted.append("--gres=gpu:" + (f"{job.gpus.kind}:" if job.gpus.kind else "") + str(job.gpus.count))
    if job.time_limit_seconds is not None:
        wanted.append(f"--time={_slurm_time(job.time_limit_seconds)}")
    return wanted


def _slurm_time(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days}-{hours:02}:{minutes:02}:{seconds:02}"


def _container(job: AgentJob) -> str:
    """The words that put the agent into an image; clusters run OCI images by Apptainer."""
    if job.image is None:
        return ""
    for corpus in job.corpora:
        if set(corpus) & set(":,"):
            raise ProxyError(
                f"--corpus is {corpus!r}; Apptainer cannot bind a folder with a colon or comma in its name"
            )
    binds = [word for corpus in job.corpora for word in ("--bind", f"{corpus}:{corpus}:ro")]
    nvidia = ["--nv"] if job.gpus.count else []
    return shlex.join(["apptainer", "exec", *nvidia, *binds, _image(job.image)]) + " "


def _image(image: str) -> str:
    return image if "://" in image or image.endswith(".sif") else f"docker://{image}"
