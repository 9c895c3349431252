"""The commands of this room: ``mixwright agent`` here, the others registered from their files."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Annotated

import typer

from proxy_training import corpus_commands, expert_commands, proxy_commands, render
from proxy_training.agent_key import KEY_FILE_VARIABLE, KEY_VARIABLE, find_key
from proxy_training.command_errors import one_sentence
from proxy_training.training_options import TrainingOptions, with_training_options

Server = Annotated[str, typer.Option(envvar="MIXWRIGHT_URL", help="Address of the service.")]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help=f"File that holds the API key [default: {KEY_VARIABLE}, or the file that {KEY_FILE_VARIABLE} names].",
    ),
]
LeaseSeconds = Annotated[
    float, typer.Option(min=1, max=3600, help="How long the service waits for a sign of life before it asks others.")
]
ExitWhenIdle = Annotated[
    float | None, typer.Option(min=0, metavar="SECONDS", help="Leave after this long without work.")
]
Name = Annotated[str | None, typer.Option(help="Shown in the service [default: host and process number].")]
SpoolFolder = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Keeps undelivered results and unfinished stacks [default: .mixwright/agent]."),
]
Parent = Annotated[int | None, typer.Option(hidden=True, help="Stop when this process is not the parent.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line; torch is imported by the command that needs it."""
    group = typer.Typer()
    group.callback(invoke_without_command=True)(agent)
    render.register(group, agent)
    app.add_typer(group, name="agent")
    corpus_commands.register(app)
    proxy_commands.register(app)
    expert_commands.register(app)


@with_training_options
def agent(
    context: typer.Context,
    training: TrainingOptions,
    server: Server = "http://127.0.0.1:8321",
    key_file: KeyFile = None,
    lease_seconds: LeaseSeconds = 30.0,
    exit_when_idle: ExitWhenIdle = None,
    name: Name = None,
    spool: SpoolFolder = None,
    parent: Parent = None,
) -> None:
    """Claim proxy runs from the service, train them and report. SIGTERM or Ctrl-C gives unfinished runs back."""
    if context.invoked_subcommand is not None:
        return
    from proxy_training.stopping import StopRequest

    stop = StopRequest(parent)
    stop.listen()  # before torch is imported, which takes seconds
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch sizes its pools by this; one thread a process is fastest
    from proxy_training.agent import AgentOptions
    from proxy_training.agent_log import configure_logs
    from proxy_training.agent_process import AgentSetup, run_agent

    configure_logs()
    with one_sentence():
        setup = AgentSetup(
            server=server,
            api_key=find_key(key_file),
            name=name or f"{socket.gethostname()}-{os.getpid()}",
            spool=spool or Path(os.environ.get("MIXWRIGHT_DATA_DIR") or ".mixwright") / "agent",
            options=AgentOptions(lease_seconds, training.max_stack, exit_when_idle),
            training=training,
        )
        run_agent(setup, stop)
