"""Trains on a Ray cluster: one stacked batch is one task, and there are as many at a time as the cluster has room for.

A task that dies with its node is started again by Ray on another one, from the last checkpoint where the spool lies on
a file system that all nodes share. What an attempt said before stands; the next one repeats some of it.
"""

from __future__ import annotations

import logging
import math
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

from proxy_training.engines.base import Engine, EngineOptions
from proxy_training.engines.messages import AssignedRun, BatchOver, Orders
from proxy_training.engines.ray_cluster import Node, RayCluster, describe, has_gpus, import_ray, room
from proxy_training.engines.ray_node import BatchAnswer, BatchOrder, Mailbox, NodeOptions, train_on_node
from proxy_training.engines.told_once import ToldOnce
from proxy_training.errors import ProxyError
from proxy_training.spec import Processor, ProxySettings
from proxy_training.stack_size import fastest_stack, fitting_stack, needed_bytes
from proxy_training.work import Assignment, Watcher

# How often Ray starts a task again whose node or process died.
_RETRIES = 3
# (largest non-embedding parameters, part of a GPU), by arithmetic, not measured: even the largest stack of such models
# leaves most of a GPU idle while kernels are launched; beyond the last row a stack has a GPU of its own.
_GPU_SHARES = ((400_000, 1 / 4), (8_000_000, 1 / 2))
# The smallest GPU that is usual for training: a part of it must hold the stack.
_SMALL_GPU_BYTES = 16 * 2**30
# Each batch asks the mailbox this often, and all of them together no more than that often.
_POLL_SECONDS, _POLLS_A_SECOND = 0.2, 200.0
# A task that was told to stop may write a checkpoint before it is killed.
_STOP_SECONDS = 20.0
# A batch that no living node can take is given up after this long; a node may be on its way.
_NO_ROOM_SECONDS = 60.0
# What was wrong with a node may have been put right since.
_FORGIVEN_SECONDS = 300.0
# The mailbox is a process of this machine: it answers at once when it has been started.
_MAILBOX_SECONDS, _ANSWER_SECONDS = 60.0, 5.0
# Every node bears this label.
_NODE_LABEL = "ray.io/node-id"

log = logging.getLogger(__name__)


class RayEngine(Engine):
    """Any number of batches at a time, each on a core of its own, or on a part of a GPU where the cluster has any."""

    name: ClassVar[str] = "ray"
    summary: ClassVar[str] = "spreads batches over a Ray cluster"

    def __init__(self, options: EngineOptions) -> None:
        super().__init__(options)
        self._has_no_use_for("command")
        if options.address is None:
            raise ProxyError(
                f"the engine {self.name!r} needs --address: HOST:PORT of a cluster, auto for the one that this machine "
                "belongs to, or local to start one on this machine"
            )
        self._ray = import_ray()
        self._cluster = RayCluster(options.address)
        try:
            self._mailbox = self._open_mailbox()
        except BaseException:
            self._cluster.close()
            raise
        self._lock = threading.Lock()
        self._shares: dict[str, float] = {}  # parts of a GPU that the batches at work take
        self._last_share = 1.0
        self._refused: dict[tuple[str, str], float] = {}  # when a node was no use, by node and corpus folder

    @property
    def device(self) -> str:
        return describe(self._cluster.nodes())

    @property
    def processor(self) -> Processor:
        return "gpu" if has_gpus(self._cluster.nodes()) else "cpu"

    @property
    def slots(self) -> int:
        """As many as have room if the next batch is like the last one."""
        nodes = self._cluster.nodes()
        with self._lock:
            share, shares = self._last_share if has_gpus(nodes) else 0.0, list(self._shares.values())
        taken = math.ceil(sum(shares) / share) if share else len(shares)
        slots = len(shares) + max(0, room(nodes, share) - taken)
        return slots if self._options.slots is None else min(slots, self._options.slots)

    def preferred_stack(self, settings: ProxySettings) -> int:
        nodes = self._cluster.nodes()
        if has_gpus(nodes):
            return fastest_stack(settings, "cuda")  # one that does not fit is halved on its node
        a_cpu = min((int(node.memory_bytes / node.cpus) for node in nodes if node.cpus >= 1), default=0)
        return min(fastest_stack(settings, "cpu"), fitting_stack(settings, "cpu", a_cpu))

    def train(self, assignments: Sequence[Assignment], corpus_folder: Path | None, watcher: Watcher) -> None:
        assert corpus_folder is not None
        settings = assignments[0].spec.settings
        share = gpu_share(settings, len(assignments)) if has_gpus(self._cluster.nodes()) else 0.0
        options = self._node_options(settings, corpus_folder, gpu=share > 0)
        told = ToldOnce([assignment.run_id for assignment in assignments], watcher)
        with self._at_work(share) as batch_id:
            runs = tuple(AssignedRun.of(assignment) for assignment in assignments)
            order = BatchOrder(batch_id=batch_id, runs=runs, options=options)
            while (answer := self._try(order, share, told)) is not None and answer.refusal is not None:
                self._refuse(answer.node_id, answer.refusal, options.corpus_folder, share)

    def close(self) -> None:
        self._cluster.close()

    def _open_mailbox(self) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        # With its machine dies the agent, too: no other place is as safe.
        here = NodeAffinitySchedulingStrategy(self._cluster.own_node, soft=False)
        kind = self._ray.remote(num_cpus=0, max_restarts=-1, scheduling_strategy=here)(Mailbox)
        mailbox = kind.remote()
        try:
            self._ray.get(mailbox.take.remote("", Orders().model_dump_json()), timeout=_MAILBOX_SECONDS)
        except self._ray.exceptions.RayError as error:
            raise ProxyError(f"the Ray cluster does not start processes on this machine: {_words(error)}") from error
        return mailbox

    def _node_options(self, settings: ProxySettings, corpus_folder: Path, gpu: bool) -> NodeOptions:
        policy, keep_models = self._options.policy, self._options.keep_models
        return NodeOptions(
            corpus_folder=str(corpus_folder.absolute()),
            corpus_hash=settings.corpus_hash,
            gpu=gpu,
            checkpoint_folder=None if policy is None else str(policy.checkpoints.folder.absolute()),
            checkpoint_seconds=0.0 if policy is None else policy.every_seconds,
            metrics_command=self._options.metrics_command,
            keep_models=None if keep_models is None else str(keep_models.absolute()),
        )

    @contextmanager
    def _at_work(self, share: float) -> Iterator[str]:
        batch_id = uuid.uuid4().hex
        with self._lock:
            self._shares[batch_id] = share
            self._last_share = share or self._last_share
        try:
            yield batch_id
        finally:
            with self._lock:
                del self._shares[batch_id]
            self._mailbox.close.remote(batch_id)

    def _try(self, order: BatchOrder, share: float, told: ToldOnce) -> BatchAnswer | None:
        """Train the batch as one task. Returns the answer of its node, None when it was lost or called off.

        Raises:
            CorpusError: the corpus cannot be read.
            ProxyError: the batch broke, or the cluster is gone.
        """
        task = self._ray.remote(
            max_retries=_RETRIES,
            num_cpus=1,
            num_gpus=share,
            label_selector=self._selector(order.options.corpus_folder),
        )(train_on_node)
        ref = task.remote(order.model_dump_json(), version("mixwright"), self._mailbox)
        try:
            if not self._follow(ref, order, share, told):
                return None
            answer = BatchAnswer.model_validate_json(self._ray.get(ref, timeout=_STOP_SECONDS))
        except self._ray.exceptions.RayTaskError as error:
            raise ProxyError(f"a node of the Ray cluster cannot train: {_words(error.cause or error)}") from error
        except self._ray.exceptions.RayError as error:
            self._cluster.nodes()  # a cluster that is gone is another matter
            told.fail_the_rest(f"the Ray cluster lost the batch: {_words(error)}")
            return None
        told.take(answer.messages)
        return answer

    def _follow(self, ref: Any, order: BatchOrder, share: float, told: ToldOnce) -> bool:
        """Pass words to and fro until the task is over; False when it was called off.

        Raises:
            ProxyError: the cluster is gone.
        """
        fitted_at = time.monotonic()
        called_off_at: float | None = None
        started = False
        while True:
            now = time.monotonic()
            messages = self._exchange(order.batch_id, told.orders())
            started = started or bool(messages)
            told.take(messages)
            if room(self._fit_nodes(order.options.corpus_folder), share):
                fitted_at = now
            elif now - fitted_at > _NO_ROOM_SECONDS:
                told.fail_the_rest("no node of the Ray cluster has room for it")
            if called_off_at is None and told.nobody_wants_more():
                called_off_at = now
            ready, _ = self._ray.wait([ref], timeout=self._poll_seconds())
            if ready:
                told.take(self._exchange(order.batch_id, told.orders()))  # what the task left there at its end
                return True
            # What has not said anything yet has nothing to save either.
            if called_off_at is not None and (not started or now - called_off_at > _STOP_SECONDS):
                self._ray.cancel(ref, force=True)
                return False

    def _exchange(self, batch_id: str, orders: Orders) -> list[str]:
        try:
            answer = self._mailbox.take.remote(batch_id, orders.model_dump_json())
            return self._ray.get(answer, timeout=_ANSWER_SECONDS)
        except self._ray.exceptions.RayError as error:  # Ray starts it again; what it held comes with the answer
            log.debug("No mail: %s", error, extra={"event": "ray_mailbox_silent"})
            return []

    def _poll_seconds(self) -> float:
        with self._lock:
            return max(_POLL_SECONDS, len(self._shares) / _POLLS_A_SECOND)

    def _refuse(self, node_id: str, refusal: BatchOver, corpus_folder: str, share: float) -> None:
        """Keep batches on this corpus away from the node for a while.

        Raises:
            CorpusError, ProxyError: there is no other one.
        """
        with self._lock:
            self._refused[node_id, corpus_folder] = time.monotonic()
        nodes = {node.node_id: node.address for node in self._cluster.nodes()}
        reason = f"node {nodes.get(node_id, node_id)} cannot train: {refusal.error}"
        if not room(self._fit_nodes(corpus_folder), share):
            reason += "; nor can another node of the Ray cluster (a corpus must have one path on all of them)"
            refusal.model_copy(update={"error": reason}).raise_error()
        log.warning("%s; another one is tried", reason, extra={"event": "ray_node_refused", "node_id": node_id})

    def _unfit(self, corpus_folder: str) -> list[str]:
        """Nodes that were no use for this corpus lately."""
        since = time.monotonic() - _FORGIVEN_SECONDS
        with self._lock:
            return [node for (node, folder), at in self._refused.items() if folder == corpus_folder and at > since]

    def _fit_nodes(self, corpus_folder: str) -> list[Node]:
        unfit = self._unfit(corpus_folder)
        return [node for node in self._cluster.nodes() if node.node_id not in unfit]

    def _selector(self, corpus_folder: str) -> dict[str, str]:
        unfit = self._unfit(corpus_folder)
        return {_NODE_LABEL: f"!in({','.join(unfit)})"} if unfit else {}


def gpu_share(settings: ProxySettings, stack: int) -> float:
    """The part of a GPU that a stack takes: what its models are too small to keep busy, others may use beside it."""
    by_work = next((share for largest, share in _GPU_SHARES if settings.model.non_embedding_params <= largest), 1.0)
    by_memory = needed_bytes(settings, "cuda", stack) / _SMALL_GPU_BYTES
    return next((share for _, share in _GPU_SHARES if max(by_work, by_memory) <= share), 1.0)


def _words(error: BaseException) -> str:
    """The first sentence of what Ray says: its messages go on for a page."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {text}"
