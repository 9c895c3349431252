"""Agents as a Kubernetes Job (batch/v1) with completion mode Indexed: one index is one agent.

A pod that is evicted or preempted has the condition DisruptionTarget: its agent drains, ends with a code that is not 0,
and the index is tried again without counting as failed. Needs Kubernetes 1.31 or later (podFailurePolicy stable,
backoffLimitPerIndex on by default).
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from proxy_training.errors import ProxyError
from proxy_training.schedulers.base import DRAIN_SECONDS, DRAINING_AGENT, AgentJob, Scheduler

_SECRET, _SECRET_KEY = "mixwright-agent", "api-key"
_MOUNT = "/corpora"
_DNS_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


class Kubernetes(Scheduler):
    """A corpus is CLAIM or CLAIM/FOLDER of a PersistentVolumeClaim; ``key_from`` is a Secret with the key api-key."""

    name: ClassVar[str] = "kubernetes"
    summary: ClassVar[str] = "A Job with an index for every agent."

    def render(self, job: AgentJob) -> str:
        if job.image is None:
            raise ProxyError("Kubernetes needs --image, built from the target agent of the Dockerfile")
        for corpus in job.corpora:
            if not _DNS_NAME.fullmatch(corpus.partition("/")[0]):
                raise ProxyError(f"--corpus is {corpus!r}; write CLAIM or CLAIM/FOLDER of a PersistentVolumeClaim")
        if job.key_from is not None and not _DNS_NAME.fullmatch(job.key_from):
            raise ProxyError(f"--key-from is {job.key_from!r}; write the name of a Secret")
        secret = job.key_from or _SECRET
        head = (
            f'# printf %s "$MIXWRIGHT_API_KEY" | kubectl create secret generic {secret} '
            f"--from-file={_SECRET_KEY}=/dev/stdin\n"
            "# kubectl apply --filename THIS_FILE\n"
        )
        manifest: dict[str, Any] = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": job.name, "labels": {"app.kubernetes.io/name": "mixwright-agent"}},
            "spec": _job_spec(job, secret),
        }
        from proxy_training.schedulers.yaml_text import to_yaml

        return head + to_yaml(manifest)


def _job_spec(job: AgentJob, secret: str) -> dict[str, Any]:
    limit = {} if job.time_limit_seconds is None else {"activeDeadlineSeconds": job.time_limit_seconds}
    return {
        "completionMode": "Indexed",
        "completions": job.agents,
        "parallelism": job.at_once or job.agents,
        **limit,
        "backoffLimitPerIndex": 3,
        "podFailurePolicy": {
            "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
        },
        "ttlSecondsAfterFinished": 24 * 3600,
        "template": {
            "metadata": {"labels": {"app.kubernetes.io/name": "mixwright-agent"}},
            "spec": _pod_spec(job, secret),
        },
    }


def _pod_spec(job: AgentJob, secret: str) -> dict[str, Any]:
    claims = {corpus.partition("/")[0]: f"corpora-{number}" for number, corpus in enumerate(job.corpora)}
    key = {"secretKeyRef": {"name": secret, "key": _SECRET_KEY}}
    words = ["mixwright-agent", *job.arguments([f"{_MOUNT}/{corpus}" for corpus in job.corpora])]
    container = {
        "name": "agent",
        "image": job.image,
        "command": ["/bin/sh", "-c", _literal(DRAINING_AGENT)],
        "args": [_literal(word) for word in words],
        "env": [{"name": "MIXWRIGHT_API_KEY", "valueFrom": key}],
        "resources": _resources(job),
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {"name": volume, "mountPath": f"{_MOUNT}/{claim}", "readOnly": True} for claim, volume in claims.items()
        ],
    }
    selector = {} if job.gpus.kind is None else {"nodeSelector": {"nvidia.com/gpu.product": job.gpus.kind}}
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": DRAIN_SECONDS,
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10001},  # the user of the Dockerfile
        **selector,
        "containers": [container],
        "volumes": [
            {"name": volume, "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
            for claim, volume in claims.items()
        ],
    }


def _resources(job: AgentJob) -> dict[str, Any]:
    gpus = {"nvidia.com/gpu": str(job.gpus.count)} if job.gpus.count else {}
    return {"requests": {"cpu": "1", "memory": "2Gi", **gpus}, **({"limits": gpus} if gpus else {})}


def _literal(text: str) -> str:
    """``text`` as Kubernetes passes it on unchanged: in commands and arguments it replaces $(NAME), and $$ is a $."""
    return text.replace("$", "$$")
