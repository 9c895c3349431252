"""What runs on the nodes of a Ray cluster: the training of one batch, and the mailbox between it and the agent.

Everything that crosses is JSON text. The agent reads results from two places, so that no death loses one: the mailbox,
as soon as there is something to say, and the answer of the task, which holds every outcome once more. Ray starts a
task again when its node dies; the agent then hears some things twice and takes the first.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import torch

from proxy_training.background import BackgroundThread
from proxy_training.checkpoint import CheckpointPolicy, Checkpoints
from proxy_training.corpus_read import Corpus
from proxy_training.engines.base import EngineOptions
from proxy_training.engines.in_process import InProcessEngine
from proxy_training.engines.messages import (
    MESSAGES,
    AssignedRun,
    BatchOver,
    Ended,
    Message,
    Orders,
    SendingWatcher,
)
from proxy_training.errors import CorpusError, ProxyError
from proxy_training.spec import Record

# The mailbox is asked this often, however many steps a second the model makes.
_EXCHANGE_SECONDS = 1.0
# An agent that cannot be reached for this long has lost the batch; its node may be cut off and train for nobody.
_SILENCE_SECONDS = 120.0


class NodeOptions(Record):
    """What the trainer on a node is told; folders by their absolute paths, which are the same on every node."""

    corpus_folder: str
    corpus_hash: str
    gpu: bool
    checkpoint_folder: str | None
    checkpoint_seconds: float
    metrics_command: str | None
    keep_models: str | None


class BatchOrder(Record):
    """One task."""

    batch_id: str
    runs: tuple[AssignedRun, ...]
    options: NodeOptions


class BatchAnswer(Record):
    """How a task ended. ``refusal`` says why this node cannot train the batch, which another one may."""

    node_id: str
    refusal: BatchOver | None = None
    messages: tuple[str, ...] = ()


@dataclass
class _Box:
    orders: str
    messages: list[str] = field(default_factory=list)


class Mailbox:
    """An actor on the agent's own machine. It holds what tasks have said until the agent asks, and the agent's orders.

    It may be started again in the middle: what it held then comes with the answers of the tasks.
    """

    def __init__(self) -> None:
        self._boxes: dict[str, _Box] = {}
        self._closed: set[str] = set()

    def take(self, batch_id: str, orders: str) -> list[str]:
        """For the agent: leave ``orders`` and take what was said."""
        box = self._boxes.setdefault(batch_id, _Box(orders))
        box.orders = orders
        messages, box.messages = box.messages, []
        return messages

    def exchange(self, batch_id: str, messages: Sequence[str]) -> str:
        """For a task: leave ``messages`` and take the orders. Nobody waits for a batch that is closed."""
        if batch_id in self._closed:
            return Orders(stopping=True).model_dump_json()
        box = self._boxes.setdefault(batch_id, _Box(Orders().model_dump_json()))
        box.messages.extend(messages)
        return box.orders

    def close(self, batch_id: str) -> None:
        """For the agent: forget the batch. An attempt on a node that was taken for dead is told to stop."""
        self._boxes.pop(batch_id, None)
        self._closed.add(batch_id)


def train_on_node(order_text: str, agent_version: str, mailbox: Any) -> str:
    """The task: train the batch on this node. Returns a :class:`BatchAnswer` as JSON."""
    import ray

    node_id = ray.get_runtime_context().get_node_id()
    try:
        _check_version(agent_version)  # before anything is read that another version may have written otherwise
        order = BatchOrder.model_validate_json(order_text)
        _check_node(order.options)
        engine = _engine(order.options.model_dump_json())
    except ProxyError as error:
        return BatchAnswer(node_id=node_id, refusal=BatchOver.broken_by(error)).model_dump_json()
    with _Line(mailbox, order.batch_id) as line:
        try:
            _train(engine, order, line)
        except Exception as error:
            line.send(BatchOver.broken_by(error))
    return BatchAnswer(node_id=node_id, messages=line.rest()).model_dump_json()


def _check_version(agent_version: str) -> None:
    if version("mixwright") != agent_version:
        raise ProxyError(f"it has mixwright {version('mixwright')}, the agent has {agent_version}")


def _check_node(options: NodeOptions) -> None:
    """Raises ProxyError: this node is not one to train on."""
    if options.gpu and not torch.cuda.is_available():
        raise ProxyError("Ray counts a GPU on it, but its PyTorch finds none")
    folder = Path(options.corpus_folder)
    corpus_hash = Corpus.open(folder).corpus_hash
    if corpus_hash != options.corpus_hash:
        raise CorpusError(f"its corpus in {folder} has the hash {corpus_hash}, the runs are for {options.corpus_hash}")


def _train(engine: InProcessEngine, order: BatchOrder, line: _Line) -> None:
    watcher = SendingWatcher(line.send, line.orders)
    # When an earlier attempt died, some of its runs were over.
    over = set(line.orders().unwanted)
    assignments = [run.assignment for run in order.runs if run.run_id not in over]
    if assignments and not watcher.stopping():
        engine.train(assignments, Path(order.options.corpus_folder), watcher)
    watcher.flush()


@lru_cache(maxsize=1)
def _engine(options_text: str) -> InProcessEngine:
    """Ray keeps a process for the next task; a corpus that is open in it stays open.

    Raises:
        ProxyError: this node lacks the program that measures, or a place to keep models in.
    """
    options = NodeOptions.model_validate_json(options_text)
    policy = None
    if options.checkpoint_folder is not None:
        checkpoints = Checkpoints(Path(options.checkpoint_folder))
        checkpoints.sweep()
        policy = CheckpointPolicy(checkpoints, options.checkpoint_seconds)
    keep_models = None if options.keep_models is None else Path(options.keep_models)
    return InProcessEngine(
        EngineOptions(policy=policy, metrics_command=options.metrics_command, keep_models=keep_models)
    )


class _Line(BackgroundThread):
    """A task's end of the mailbox: a thread that exchanges messages for orders while the task trains."""

    def __init__(self, mailbox: Any, batch_id: str) -> None:
        super().__init__("mailbox")
        self._mailbox = mailbox
        self._batch_id = batch_id
        self._lock = threading.Lock()
        self._unsent: list[str] = []
        self._outcomes: list[str] = []
        self._orders = Orders()  # replaced, never changed: the trainer reads it without the lock
        self._heard_at = time.monotonic()

    def __enter__(self) -> Self:
        self._exchange()
        return super().__enter__()

    def send(self, message: Message) -> None:
        """Let the agent know, within about a second."""
        text = MESSAGES.dump_json(message).decode()
        with self._lock:
            self._unsent.append(text)
            if isinstance(message, Ended):
                self._outcomes.append(text)

    def orders(self) -> Orders:
        """The latest word of the agent."""
        return self._orders

    def rest(self) -> tuple[str, ...]:
        """What the mailbox did not get, and every outcome again."""
        with self._lock:
            return (*self._unsent, *(text for text in self._outcomes if text not in self._unsent))

    def _keep(self) -> None:
        while not self._closing.wait(_EXCHANGE_SECONDS):
            self._exchange()

    def _exchange(self) -> None:
        import ray
        from ray.exceptions import RayError

        with self._lock:
            messages, self._unsent = self._unsent, []
        try:
            answer: str = ray.get(self._mailbox.exchange.remote(self._batch_id, messages), timeout=_SILENCE_SECONDS / 4)
            self._orders, self._heard_at = Orders.model_validate_json(answer), time.monotonic()
        except RayError:  # a timeout, or a mailbox that is being started again
            with self._lock:
                self._unsent = messages + self._unsent
            if time.monotonic() - self._heard_at > _SILENCE_SECONDS:
                self._orders = Orders(stopping=True)
