"""Options that say where runs are trained and on what, for every command that trains."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, get_type_hints

import typer


@dataclass(frozen=True)
class TrainingOptions:
    """What a command was told; :mod:`proxy_training.engine_choice` makes an engine of it."""

    corpus: Annotated[
        list[Path] | None, typer.Option(metavar="DIR", help="A tokenised corpus; may be given several times.")
    ] = None
    corpus_names: Annotated[
        list[str] | None,
        typer.Option(
            "--corpus-name", help="Data that a trainer of your own knows by this name (corpus_hash of the runs)."
        ),
    ] = None
    engine: Annotated[
        str | None,
        typer.Option(
            help="Where runs are trained [default: command or subprocess with --command or --slots, else in_process]."
        ),
    ] = None
    slots: Annotated[
        int | None,
        typer.Option(
            min=1, max=1024, help="Batches at a time, each in a process of its own on a GPU or core of its own."
        ),
    ] = None
    address: Annotated[str | None, typer.Option(help="Address of a Ray cluster, or auto; with --engine ray.")] = None
    command: Annotated[
        str | None,
        typer.Option(metavar="COMMAND", help='A trainer of your own: "python my_train.py --config {spec}".'),
    ] = None
    metrics_command: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND",
            help='Measures every trained model beside its losses: "my_eval --model {model} --out {out}".',
        ),
    ] = None
    keep_models: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Save every trained model there, in the Llama layout of Hugging Face."),
    ] = None
    max_stack: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Runs to train as one [default: by the size of the model].")
    ] = None
    checkpoint_seconds: Annotated[
        float, typer.Option(min=0.1, help="Training time that a kill may lose; a stop in order loses seconds.")
    ] = 120.0

    @property
    def engine_name(self) -> str:
        """The engine that was named, or that the other options mean."""
        if self.engine is not None:
            return self.engine
        if self.command is not None:
            return "command"
        return "in_process" if self.slots is None else "subprocess"


def with_training_options(command: Callable[..., None]) -> Callable[..., None]:
    """Show typer every field of the parameter ``training`` of ``command`` as an option of its own."""
    kind, hints = inspect.Parameter.KEYWORD_ONLY, get_type_hints(TrainingOptions, include_extras=True)
    own = inspect.signature(command, eval_str=True).parameters.values()
    shown = [parameter.replace(kind=kind) for parameter in own if parameter.name != "training"]
    shown += [
        inspect.Parameter(field.name, kind, default=field.default, annotation=hints[field.name])
        for field in fields(TrainingOptions)
    ]

    @functools.wraps(command)
    def spread(**given: object) -> None:
        told = {field.name: given.pop(field.name) for field in fields(TrainingOptions)}
        command(training=TrainingOptions(**told), **given)  # type: ignore[arg-type]

    spread.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    spread.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    return spread
