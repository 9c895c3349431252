"""A connection to a Ray cluster that never blocks for ever, and what the cluster has room for.

Calls to Ray's head wait without an end when it is gone, and Ray itself ends the process a minute later. So a thread
alone asks for the nodes, and silence for less than that minute is taken for the end of the cluster.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from proxy_training.errors import ProxyError

_CONNECT_SECONDS = 20.0
_START_SECONDS = 120.0  # a cluster of one's own on a loaded machine
_PROBE_SECONDS = 3.0
_LOOK_SECONDS = 2.0
# Longer than a head needs to come back where it can, shorter than Ray's own patience of a minute.
_SILENCE_SECONDS = 25.0
_CLOSE_SECONDS = 8.0
# Messages are small: the store for big objects need not be a third of the machine's memory.
_LOCAL = {"include_dashboard": False, "object_store_memory": 100_000_000}
_ACCELERATOR = "accelerator_type:"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Node:
    """A living node."""

    node_id: str
    address: str
    cpus: float
    gpus: float
    memory_bytes: int
    accelerators: tuple[str, ...] = ()


class RayCluster:
    """The cluster at ``address``; ``auto`` is the one of this machine, ``local`` starts one for this process alone.

    Raises:
        ProxyError: no usable cluster answers, Ray is not installed, or, from any method, the cluster is gone.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._ray = import_ray()
        self._nodes: tuple[Node, ...] = ()
        self._heard_at = time.monotonic()
        self._own_node = ""
        self._error: BaseException | None = None
        self._connected, self._closing = threading.Event(), threading.Event()
        _check_address(address)
        # The processes of a local cluster live as long as the thread that has started them. And in the main thread Ray
        # would take SIGTERM for itself.
        self._thread = threading.Thread(target=self._live, name="ray cluster", daemon=True)
        self._thread.start()
        self._wait_for_connection()

    @property
    def own_node(self) -> str:
        """The node that this process runs on."""
        return self._own_node

    def nodes(self) -> tuple[Node, ...]:
        """The nodes that were alive some seconds ago."""
        silence = time.monotonic() - self._heard_at
        if silence > _SILENCE_SECONDS:
            raise ProxyError(
                f"the Ray cluster at {self._address} is gone: its head has not answered for {silence:.0f} s"
            )
        if self._own_node not in {node.node_id for node in self._nodes}:
            raise ProxyError(f"the Ray cluster at {self._address} is gone: this machine is no node of it any more")
        return self._nodes

    def close(self) -> None:
        """Leave the cluster; tasks that still run are ended by it."""
        self._closing.set()
        self._thread.join(_CLOSE_SECONDS)
        if self._thread.is_alive():  # it still waits for a head that is gone
            shutdown = threading.Thread(target=self._ray.shutdown, name="ray shutdown", daemon=True)
            shutdown.start()
            shutdown.join(_CLOSE_SECONDS)

    def _live(self) -> None:
        try:
            self._connect()
        except BaseException as error:  # Ray may even exit
            self._error = error
        self._connected.set()
        while self._error is None and not self._closing.wait(_LOOK_SECONDS):
            try:
                self._look()
            except Exception as error:
                # Whatever class Ray chooses for it: an answer that did not come is silence.
                log.debug("No list of nodes: %s", error, extra={"event": "ray_silent"})
        self._ray.shutdown()

    def _connect(self) -> None:
        # Lines of the workers belong into Ray's own log files; the agent hears from its batches by messages.
        logging.getLogger("ray").setLevel(logging.ERROR)
        # Nor a page of a dead node's last words, which come although no log is asked for and have no public switch.
        self._ray._private.worker._worker_logs_enabled = False
        own = _LOCAL if self._address == "local" else {}
        self._ray.init(address=self._address, log_to_driver=False, logging_level=logging.ERROR, **own)
        self._own_node = self._ray.get_runtime_context().get_node_id()
        self._look()

    def _wait_for_connection(self) -> None:
        local = self._address == "local"
        seconds = _START_SECONDS if local else _CONNECT_SECONDS
        failure = "no local Ray cluster could be started" if local else f"no Ray cluster answers at {self._address}"
        if not self._connected.wait(seconds):
            hint = "" if local else "; one with tokens answers only who has RAY_AUTH_MODE=token and its token"
            raise ProxyError(f"{failure} within {seconds:.0f} s{hint}")
        if self._error is not None:
            # Ray's own words for a wrong version, a wrong token or no cluster on this machine.
            words = " ".join(str(self._error).split()) or type(self._error).__name__
            raise ProxyError(f"{failure}: {words}") from self._error

    def _look(self) -> None:
        self._nodes = tuple(_node(entry) for entry in self._ray.nodes() if entry["Alive"])
        self._heard_at = time.monotonic()


def room(nodes: Iterable[Node], gpu_share: float) -> int:
    """Batches that fit on ``nodes`` at the same time, each on ``gpu_share`` of a GPU, or on a CPU where that is 0."""
    if not gpu_share:
        return sum(int(node.cpus) for node in nodes)
    # A batch has a core of its own beside its part of a GPU, and never parts of two GPUs.
    return sum(min(int(node.cpus), int(node.gpus) * round(1 / gpu_share)) for node in nodes)


def has_gpus(nodes: Collection[Node]) -> bool:
    """Whether batches are for GPUs; the CPUs of a cluster with any are left alone."""
    return any(node.gpus >= 1 for node in nodes)


def describe(nodes: Collection[Node]) -> str:
    """ "ray cluster: 3 nodes, 12 CPUs, 2 GPUs (H100)" """
    parts = [_counted(len(nodes), "node"), _counted(int(sum(node.cpus for node in nodes)), "CPU")]
    if has_gpus(nodes):
        kinds = sorted({kind for node in nodes for kind in node.accelerators})
        parts.append(
            _counted(int(sum(node.gpus for node in nodes)), "GPU") + (f" ({', '.join(kinds)})" if kinds else "")
        )
    return f"ray cluster: {', '.join(parts)}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _node(entry: Mapping[str, Any]) -> Node:
    resources = entry["Resources"]
    kinds = tuple(name.removeprefix(_ACCELERATOR) for name in resources if name.startswith(_ACCELERATOR))
    return Node(
        node_id=entry["NodeID"],
        address=entry["NodeManagerAddress"],
        cpus=resources.get("CPU", 0.0),
        gpus=resources.get("GPU", 0.0),
        memory_bytes=int(resources.get("memory", 0)),
        accelerators=kinds,
    )


def import_ray() -> Any:
    """The package, told to keep its statistics to itself.

    Raises:
        ProxyError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise ProxyError("the engine 'ray' needs the package ray; install Mixwright with its extra ray") from error
    return ray


def _check_address(address: str) -> None:
    """Raises ProxyError: nobody can be there. Ray takes minutes to say so."""
    if "://" in address:
        raise ProxyError(
            f"the agent must run on a node of its Ray cluster, and {address} is for clients outside of it; "
            "start the agent on a node and give HOST:PORT or auto"
        )
    if address in ("auto", "local"):
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ProxyError(f"{address!r} is no address of a Ray cluster; write HOST:PORT, auto or local")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _PROBE_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ProxyError(f"no Ray cluster answers at {address}: {error}") from error
