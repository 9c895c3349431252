"""Puts an agent together from what the command line was given, and runs it in this process."""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from proxy_training.agent import Agent, AgentOptions
from proxy_training.checkpoint import CheckpointPolicy, Checkpoints
from proxy_training.corpus_read import Corpus
from proxy_training.engines import ENGINES
from proxy_training.errors import ProxyError
from proxy_training.registration import Registration
from proxy_training.service_client import ServiceClient
from proxy_training.spool import Spool
from proxy_training.stopping import StopRequest

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AgentSetup:
    """What the command line asks for. ``spool`` holds undelivered reports and unfinished stacks."""

    server: str
    api_key: str | None = field(repr=False)
    engine: str
    corpora: Sequence[Path]
    name: str
    spool: Path
    checkpoint_seconds: float
    options: AgentOptions


def run_agent(setup: AgentSetup, stop: StopRequest) -> None:
    """Run an agent until it is told to stop, has been idle for long enough, or cannot go on.

    Raises:
        ProxyError: saying which of its inputs is wrong, or why it cannot go on.
    """
    if setup.engine not in ENGINES:
        raise ProxyError(f"there is no engine {setup.engine!r}; there are {', '.join(sorted(ENGINES))}")
    corpora = {Corpus.open(folder).corpus_hash: folder for folder in setup.corpora}
    checkpoints = Checkpoints(setup.spool / "checkpoints")
    try:
        spool = Spool(setup.spool / "reports")
        checkpoints.sweep()
    except OSError as exc:
        raise ProxyError(f"the spool folder {setup.spool} cannot be used: {exc.strerror or exc}") from exc
    engine = ENGINES[setup.engine](CheckpointPolicy(checkpoints, setup.checkpoint_seconds))
    with ServiceClient(setup.server, setup.api_key) as client:
        registration = Registration(client, setup.name, socket.gethostname(), engine.device)
        log.info(
            "Agent %s on %s with %d corpora", setup.name, engine.device, len(corpora), extra={"event": "agent_started"}
        )
        Agent(client, registration, engine, corpora, spool, setup.options, stop).run()
