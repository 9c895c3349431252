"""``mixwright agent render``: pull agents as a job of a scheduler, written to a file or to the standard output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from proxy_training.command_errors import one_sentence
from proxy_training.errors import ProxyError
from proxy_training.schedulers import SCHEDULERS
from proxy_training.schedulers.base import AgentJob, Gpus, Scheduler, seconds_of
from proxy_training.whole_files import write_whole

# Said by render's own options, or never in a script.
_NOT_PASSED_ON = {
    "server": "give it before the --",
    "corpus": "give it before the --",
    "key_file": "the job brings the key; see --key-from",
    "parent": "nothing of the scheduler's is its parent",
}
_IDLE_SECONDS = "60"

Options = Annotated[
    list[str] | None, typer.Argument(metavar="-- AGENT OPTIONS", help="Options of 'mixwright agent', after a --.")
]
Server = Annotated[str, typer.Option(envvar="MIXWRIGHT_URL", help="Address of the service, as the agents reach it.")]
Corpora = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PLACE",
        help="A tokenised corpus: a folder on every node (Slurm), CLAIM or CLAIM/FOLDER of a PersistentVolumeClaim "
        "(Kubernetes), a folder here or a bucket (SkyPilot). May be given several times.",
    ),
]
KeyFrom = Annotated[
    str | None,
    typer.Option(
        metavar="PLACE",
        help="Where agents find the API key: a file [~/.mixwright-key] (Slurm), a Secret with the key api-key "
        "[mixwright-agent] (Kubernetes).",
    ),
]
Agents = Annotated[int, typer.Option(min=1, max=10_000, help="How many there are in all.")]
AtOnce = Annotated[int | None, typer.Option(min=1, help="How many run at the same time [default: all].")]
Image = Annotated[str | None, typer.Option(help="The container image with the agent in it.")]
GpuWish = Annotated[str, typer.Option(metavar="[KIND:]N", help="GPUs of every agent.")]
TimeLimit = Annotated[str | None, typer.Option(metavar="DURATION", help="Such as 1d12h or 90m.")]
JobName = Annotated[str, typer.Option(help="Of the job.")]
Out = Annotated[Path | None, typer.Option(metavar="FILE", help="Where to write it [default: standard output].")]


def register(group_of_agent: typer.Typer, agent: Callable[..., None]) -> None:
    """Add ``render``, with a command for every scheduler, beside the command ``agent`` whose options it passes on."""
    group = typer.Typer(help="Agents as a job of a scheduler: Slurm, Kubernetes, SkyPilot.", no_args_is_help=True)
    for scheduler in SCHEDULERS.values():
        group.command(scheduler.name, help=scheduler.summary)(_command_of(scheduler, agent))
    group_of_agent.add_typer(group, name="render")


def _command_of(scheduler: Scheduler, agent: Callable[..., None]) -> Callable[..., None]:
    def render(
        server: Server,
        options: Options = None,
        corpus: Corpora = None,
        agents: Agents = 1,
        at_once: AtOnce = None,
        gpus: GpuWish = "0",
        image: Image = None,
        time_limit: TimeLimit = None,
        key_from: KeyFrom = None,
        name: JobName = "mixwright-agent",
        out: Out = None,
    ) -> None:
        from proxy_training.service_client import address_of

        with one_sentence():
            address_of(server)
            job = AgentJob(
                name=name,
                server=server,
                agents=agents,
                at_once=at_once,
                corpora=tuple(corpus or ()),
                image=image,
                gpus=Gpus.parse(gpus),
                time_limit_seconds=None if time_limit is None else seconds_of(time_limit),
                key_from=key_from,
                options=tuple(_checked(agent, options or (), bool(corpus))),
            )
            _write(scheduler.render(job), out)

    return render


def _checked(agent: Callable[..., None], options: Sequence[str], has_corpus: bool) -> list[str]:
    """Options for the agent, refused here when the agent would refuse them on the cluster.

    Raises:
        ProxyError: an option that is not the agent's, or that cannot be passed on.
    """
    try:
        parsed = typer.main.get_command(_alone(agent)).make_context("agent", list(options))
    except typer.Exit:
        raise
    except Exception as exc:
        if not hasattr(exc, "format_message"):  # what typer says of wrong usage, wherever it has that class from
            raise
        raise ProxyError(f"after the --: {exc.format_message()}") from exc  # type: ignore[attr-defined]
    given = {name for name in parsed.params if getattr(parsed.get_parameter_source(name), "name", "") == "COMMANDLINE"}
    for name, why in _NOT_PASSED_ON.items():
        if name in given:
            raise ProxyError(f"--{name.replace('_', '-')} cannot stand after the --: {why}")
    if not has_corpus and "corpus_names" not in given:
        raise ProxyError("no data is named to train on; give --corpus PLACE, or --corpus-name NAME after a --")
    # Jobs end when there is nothing left to do.
    idle = [] if "exit_when_idle" in given else ["--exit-when-idle", _IDLE_SECONDS]
    return [*idle, *options]


def _alone(agent: Callable[..., None]) -> typer.Typer:
    """``agent`` as a command without others beside it, so that no word is taken for one of them."""
    app = typer.Typer(add_completion=False)
    app.command()(agent)
    return app


def _write(text: str, out: Path | None) -> None:
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        write_whole(out, lambda file: file.write(text.encode()))
    except OSError as exc:
        raise ProxyError(f"{out} cannot be written: {exc.strerror or exc}") from exc
