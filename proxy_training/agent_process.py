"""Puts an agent together from what the command line was given, and runs it in this process."""

from __future__ import annotations

import logging
import socket
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from proxy_training.agent import Agent, AgentOptions
from proxy_training.checkpoint import Checkpoints
from proxy_training.engine_choice import data_at_hand, open_engine
from proxy_training.errors import ProxyError
from proxy_training.registration import Registration
from proxy_training.service_client import ServiceClient
from proxy_training.spool import Spool
from proxy_training.stopping import StopRequest
from proxy_training.training_options import TrainingOptions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AgentSetup:
    """What the command line asks for. ``spool`` holds undelivered reports and unfinished stacks."""

    server: str
    api_key: str | None = field(repr=False)
    name: str
    spool: Path
    options: AgentOptions
    training: TrainingOptions


def run_agent(setup: AgentSetup, stop: StopRequest) -> None:
    """Run an agent until it is told to stop, has been idle for long enough, or cannot go on.

    Raises:
        ProxyError: saying which of its inputs is wrong, or why it cannot go on.
    """
    corpora = data_at_hand(setup.training)
    checkpoints = Checkpoints(setup.spool / "checkpoints")
    try:
        spool = Spool(setup.spool / "reports")
        checkpoints.sweep()
    except OSError as exc:
        raise ProxyError(f"the spool folder {setup.spool} cannot be used: {exc.strerror or exc}") from exc
    engine = open_engine(setup.training, checkpoints)
    with closing(engine), ServiceClient(setup.server, setup.api_key) as client:
        registration = Registration(client, setup.name, socket.gethostname(), engine.device)
        log.info(
            "Agent %s on %s with %d corpora and room for %d batches", setup.name, engine.device, len(corpora),
            engine.slots, extra={"event": "agent_started"},
        )  # fmt: skip
        Agent(client, registration, engine, corpora, spool, setup.options, stop).run()
