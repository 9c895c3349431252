"""Puts an agent together from what the command line was given, and runs it in this process."""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from proxy_training.agent import Agent, AgentOptions
from proxy_training.checkpoint import CheckpointPolicy, Checkpoints
from proxy_training.corpus_read import Corpus
from proxy_training.engines import ENGINES
from proxy_training.engines.base import Engine, EngineOptions
from proxy_training.errors import ProxyError
from proxy_training.registration import Registration
from proxy_training.service_client import ServiceClient
from proxy_training.spool import Spool
from proxy_training.stopping import StopRequest

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AgentSetup:
    """What the command line asks for. ``spool`` holds undelivered reports and unfinished stacks.

    ``corpus_names`` name data that only a trainer of the user's own knows.
    """

    server: str
    api_key: str | None = field(repr=False)
    engine: str
    corpora: Sequence[Path]
    corpus_names: Sequence[str]
    name: str
    spool: Path
    checkpoint_seconds: float
    options: AgentOptions
    engine_options: EngineOptions


def run_agent(setup: AgentSetup, stop: StopRequest) -> None:
    """Run an agent until it is told to stop, has been idle for long enough, or cannot go on.

    Raises:
        ProxyError: saying which of its inputs is wrong, or why it cannot go on.
    """
    kind = engine_kind(setup.engine)
    corpora = data_at_hand(kind, setup.corpora, setup.corpus_names)
    checkpoints = Checkpoints(setup.spool / "checkpoints")
    try:
        spool = Spool(setup.spool / "reports")
        checkpoints.sweep()
    except OSError as exc:
        raise ProxyError(f"the spool folder {setup.spool} cannot be used: {exc.strerror or exc}") from exc
    policy = CheckpointPolicy(checkpoints, setup.checkpoint_seconds)
    engine = kind(replace(setup.engine_options, policy=policy))
    with closing(engine), ServiceClient(setup.server, setup.api_key) as client:
        registration = Registration(client, setup.name, socket.gethostname(), engine.device)
        log.info(
            "Agent %s on %s with %d corpora and room for %d batches", setup.name, engine.device, len(corpora),
            engine.slots, extra={"event": "agent_started"},
        )  # fmt: skip
        Agent(client, registration, engine, corpora, spool, setup.options, stop).run()


def engine_kind(name: str) -> type[Engine]:
    """The engine of that name.

    Raises:
        ProxyError: there is none; naming those that there are.
    """
    if name not in ENGINES:
        raise ProxyError(f"there is no engine {name!r}; there are {', '.join(sorted(ENGINES))}")
    return ENGINES[name]


def data_at_hand(kind: type[Engine], corpora: Sequence[Path], corpus_names: Sequence[str]) -> dict[str, Path | None]:
    """The folder of every corpus by its hash; None where only a trainer of the user's own knows the data, by name.

    Raises:
        ProxyError: nothing is named, or names are given to an engine that reads corpora itself.
    """
    if corpus_names and kind.reads_corpora:
        raise ProxyError(f"the engine {kind.name!r} trains on tokenised corpora; name their folders with --corpus")
    if not corpora and not corpus_names:
        wanted = "--corpus DIR" if kind.reads_corpora else "--corpus DIR or --corpus-name NAME"
        raise ProxyError(f"no data is named to train on; give {wanted}")
    names: dict[str, Path | None] = dict.fromkeys(corpus_names)
    return names | {Corpus.open(folder).corpus_hash: folder for folder in corpora}
