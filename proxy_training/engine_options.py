"""Options that say where runs are trained and on what, for every command that trains."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Corpora = Annotated[
    list[Path] | None, typer.Option(metavar="DIR", help="A tokenised corpus; may be given several times.")
]
CorpusNames = Annotated[
    list[str] | None,
    typer.Option("--corpus-name", help="Data that a trainer of your own knows by this name (corpus_hash of the runs)."),
]
EngineName = Annotated[
    str | None, typer.Option(help="Where runs are trained [default: in_process; command when --command is given].")
]
Slots = Annotated[
    int | None,
    typer.Option(min=1, max=1024, help="Batches at a time, each in a process of its own on a GPU or core of its own."),
]
Address = Annotated[str | None, typer.Option(help="Address of a Ray cluster, or auto; with --engine ray.")]
Command = Annotated[
    str | None, typer.Option(metavar="COMMAND", help='A trainer of your own: "python my_train.py --config {spec}".')
]
MetricsCommand = Annotated[
    str | None,
    typer.Option(
        metavar="COMMAND", help='Measures every trained model beside its losses: "my_eval --model {model} --out {out}".'
    ),
]
KeepModels = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Save every trained model there, in the Llama layout of Hugging Face."),
]
MaxStack = Annotated[
    int | None, typer.Option(min=1, max=1024, help="Runs to train as one [default: by the size of the model].")
]


def default_engine(slots: int | None, command: str | None) -> str:
    """The engine that the other options mean when none is named."""
    if command is not None:
        return "command"
    return "in_process" if slots is None else "subprocess"
