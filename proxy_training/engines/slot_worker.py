"""The process of a slot: ``python -m proxy_training.engines.slot_worker``, started by the engine ``subprocess``.

It trains the batches that come in on its standard input and tells of them on its standard output. The end of the
input ends it, also in the middle of a batch, which is then saved like one that was told to stop.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import sys
import threading
import time
from typing import BinaryIO

from proxy_training.agent_log import extra_of
from proxy_training.devices import training_device
from proxy_training.engines.in_process import InProcessEngine
from proxy_training.engines.messages import BatchOver, Orders, SendingWatcher
from proxy_training.engines.slot_messages import (
    INSTRUCTIONS,
    Batch,
    Logged,
    NewOrders,
    Ready,
    Told,
    WorkerSetup,
    line_of,
)
from proxy_training.errors import ProxyError
from proxy_training.free_memory import free_bytes

# To save a stack after the agent has gone; what takes longer hangs.
_GRACE_SECONDS = 30.0
_HUNG = 70

log = logging.getLogger(__name__)


class Channel:
    """The way to the agent, for all threads. Once the agent is gone what is said is lost, and nothing fails for it."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()

    def send(self, message: Told) -> None:
        try:
            with self._lock:
                self._pipe.write(line_of(message))
                self._pipe.flush()
        except BrokenPipeError:
            return  # the end of the input says the same, and stops the training


class Inbox(threading.Thread):
    """Hears the agent while the main thread trains.

    Attributes:
        batches: what to train; None when there is no more.
        orders: the latest word on the batch under way.
    """

    def __init__(self, pipe: BinaryIO) -> None:
        super().__init__(name="inbox", daemon=True)
        self._pipe = pipe
        self.batches: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self.orders = Orders()

    def setup(self) -> WorkerSetup | None:
        """The first word; None when the agent is gone already."""
        line = self._pipe.readline()
        setup = INSTRUCTIONS.validate_json(line) if line else None
        assert setup is None or isinstance(setup, WorkerSetup)
        return setup

    def run(self) -> None:
        for line in self._pipe:
            match INSTRUCTIONS.validate_json(line):
                case Batch() as batch:
                    self.orders = Orders()
                    self.batches.put(batch)
                case NewOrders(orders=orders):
                    self.orders = orders
                case WorkerSetup():
                    raise AssertionError("a worker is set up once")
        self.orders = Orders(stopping=True)
        self.batches.put(None)
        time.sleep(_GRACE_SECONDS)
        os._exit(_HUNG)


class ChannelHandler(logging.Handler):
    """Sends log lines to the agent."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        extra = json.loads(json.dumps(extra_of(record), default=str))
        self._channel.send(Logged(level=record.levelno, message=self.format(record), extra=extra))


def main() -> None:
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # Schedulers signal every process of a job; when to stop is the agent's to say. A handler and not SIG_IGN,
        # which commands that are started from here would inherit.
        signal.signal(signum, lambda *_: None)
    # Whatever else is printed in this process must not come between the messages.
    channel = Channel(os.fdopen(os.dup(sys.stdout.fileno()), "wb"))
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    inbox = Inbox(sys.stdin.buffer)
    setup = inbox.setup()
    if setup is None:
        return
    root = logging.getLogger()
    root.handlers = [ChannelHandler(channel)]
    root.setLevel(setup.log_level)
    inbox.start()
    try:
        device = training_device()
        engine = InProcessEngine(setup.options, device)
        ready = Ready(device=engine.device, device_type=device.type, free_bytes=free_bytes(device))
    except Exception as error:
        channel.send(BatchOver.broken_by(error))
        return
    channel.send(ready)
    while (batch := inbox.batches.get()) is not None:
        channel.send(_train(engine, batch, SendingWatcher(channel.send, lambda: inbox.orders)))


def _train(engine: InProcessEngine, batch: Batch, watcher: SendingWatcher) -> BatchOver:
    try:
        engine.train([run.assignment for run in batch.runs], batch.corpus_folder, watcher)
        watcher.flush()
    except Exception as error:
        if not isinstance(error, ProxyError):
            log.error("The batch broke", exc_info=error, extra={"event": "batch_broken"})
        return BatchOver.broken_by(error)
    return BatchOver()


if __name__ == "__main__":
    main()
    sys.stderr.flush()
    os._exit(0)  # taking torch down in order takes a second
