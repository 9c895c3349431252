"""``mixwright proxy presets`` and ``mixwright proxy train``: proxy runs without a service."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from proxy_training.command_bar import progress_bar
from proxy_training.command_errors import FAILED, one_sentence
from proxy_training.model_presets import PRESETS, SHAPE_FIELDS
from proxy_training.training_options import TrainingOptions, with_training_options

# torch is imported when a command runs, so that `mixwright --help` is fast.
if TYPE_CHECKING:
    from proxy_training.offline_training import OnProgress, Tally, TrainingSetup

GROUP = "proxy"
_INTERRUPTED = 130  # 128 + SIGINT, as shells count


def register(app: typer.Typer) -> None:
    """Add the commands to the group ``proxy``, which other rooms have commands in, too."""
    groups = (info.typer_instance for info in app.registered_groups if info.name == GROUP)
    group = next((made for made in groups if made is not None), None)
    if group is None:
        group = typer.Typer(help="Proxy runs by files alone, without a server.", no_args_is_help=True)
        app.add_typer(group, name=GROUP)
    group.command("presets")(presets)
    group.command("train")(train)


def presets() -> None:
    """Show the named sizes of models, the memory that one takes, and how many an agent would train as one here."""
    from proxy_training.devices import device_name, training_device
    from proxy_training.spec import ModelSpec, ProxySettings
    from proxy_training.stack_size import needed_bytes, preferred_stack

    device = training_device()
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("preset", "parameters", *(field.removeprefix("n_") for field in SHAPE_FIELDS), "memory", "stack"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, shape in PRESETS.items():
        model = ModelSpec.model_validate({"preset": name})
        settings = ProxySettings(model=model, corpus_hash="any", train_tokens=10**9)
        memory = f"{needed_bytes(settings, device.type) / 1e9:.2f} GB"
        parameters = f"{model.non_embedding_params / 1e6:.2f} M"
        table.add_row(name, parameters, *map(str, shape.values()), memory, str(preferred_stack(settings, device)))
    console = Console(highlight=False)
    console.print(table)
    console.print(
        "Parameters are without embedding and head. Memory is that of one model of bytes in training, with as many "
        f"sequences a step as by default; stack is how many an agent trains as one on {device_name(device)}.",
        markup=False,
        soft_wrap=True,
    )


@with_training_options
def train(
    specs: Annotated[Path, typer.Argument(metavar="SPECS.jsonl", help="A run a line, as 'proxy specs' writes them.")],
    out: Annotated[Path, typer.Option(metavar="RESULTS.jsonl", help="Where results go; those there are kept.")],
    training: TrainingOptions,
) -> None:
    """Train the runs of a file. Each result is appended as it comes; started again, the rest is gone on with."""
    from proxy_training.stopping import StopRequest

    stop = StopRequest()
    stop.listen()  # before torch is imported, which takes seconds
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch sizes its pools by this; one thread a process is fastest
    from proxy_training.offline_training import TrainingSetup, train_file

    setup = TrainingSetup(specs, out, training)
    with one_sentence(), _bar() as on_progress:
        tally = train_file(setup, stop, on_progress)
    _report(setup, tally, stopped=stop.asked)


@contextmanager
def _bar() -> Iterator[OnProgress]:
    """A bar over the tokens of all runs; without a terminal, lines of the log."""
    from proxy_training.agent_log import configure_logs

    with progress_bar() as progress:
        configure_logs()  # under the bar's hands: a line of the log then goes above the bar
        if progress.console.is_terminal and "MIXWRIGHT_LOG_LEVEL" not in os.environ:
            logging.getLogger().setLevel(logging.WARNING)  # the bar says the rest
        task = progress.add_task("Training", total=None)

        def on_progress(tally: Tally) -> None:
            done = tally.runs - tally.missing
            progress.update(
                task, description=f"{done} of {tally.runs} runs", completed=tally.tokens_done, total=tally.tokens
            )

        yield on_progress


def _report(setup: TrainingSetup, tally: Tally, stopped: bool) -> None:
    """What was done and what is left; exit codes say the same to scripts."""
    console = Console(markup=False, highlight=False, soft_wrap=True)
    known = f", {tally.known} were there already" if tally.known else ""
    console.print(f"{tally.succeeded} runs trained{known}; {setup.results} holds {tally.runs - tally.missing} results.")
    if tally.diverged:
        console.print(f"{tally.diverged} runs diverged: their lines say when, and hold no losses.")
    if not tally.missing:
        return
    errors = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    for run_id, reason in list(tally.failed.items())[:3]:
        errors.print(f"mixwright: run {run_id} failed: {reason}")
    again = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    left = f"{tally.missing} of {tally.runs} runs have no result"
    errors.print(f"mixwright: {'stopped: ' if stopped else ''}{left}; to go on with them, repeat: {again}")
    # A typer.Exit with the code of an interrupt would be told as one, after the sentence above.
    sys.exit(_INTERRUPTED if stopped else FAILED)
