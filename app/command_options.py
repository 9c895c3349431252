"""Options that several commands share, and commands that take them as records.

A command with many options would have as many arguments. Here the options stand in frozen dataclasses, and
:func:`with_records` shows typer one flat list of them.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from app.schemas.run_fidelity import RunFidelity

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Holds runs.csv, domains.csv and targets.csv.")]
LawName = Annotated[str, typer.Option(help="The law to use; 'auto' takes the one that predicts unseen runs best.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]


@dataclass(frozen=True)
class ReadingOptions:
    """How a swarm folder is read, and the seed of everything random."""

    tolerance: Annotated[
        float | None,
        typer.Option(
            help="How far weights may be from a sum of 1 and still be normalised (default: 0.005, 0.05 warned)."
        ),
    ] = None
    seed: Annotated[int, typer.Option(min=0, help="Seed of the folds, the fits and the search.")] = 0
    fidelity: Annotated[
        RunFidelity | None, typer.Option(help="Runs of this fidelity only [default: trained; merged are averages].")
    ] = None

    @property
    def run_fidelity(self) -> RunFidelity:
        """The one of all rows that are used."""
        return self.fidelity or RunFidelity.TRAINED


@dataclass(frozen=True)
class ScaleOptions:
    """The scale to predict at."""

    model_params: Annotated[
        float | None, typer.Option(help="Non-embedding parameters to predict at (default: the largest of the runs).")
    ] = None
    train_tokens: Annotated[
        float | None, typer.Option(help="Training tokens to predict at (default: those of the largest scale).")
    ] = None


def with_records(command: Callable[..., None]) -> Callable[..., None]:
    """Spread every parameter of ``command`` that is a dataclass into one parameter a field, for typer to see."""
    hints = get_type_hints(command, include_extras=True)
    records: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    flat: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name not in records:
            flat.append(
                parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[parameter.name]),
            )
            continue
        record = records[parameter.name]
        field_hints = get_type_hints(record, include_extras=True)
        flat += [
            inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=field_hints[f.name])
            for f in fields(record)
        ]

    @functools.wraps(command)
    def spread(**given: object) -> None:
        for name, record in records.items():
            given[name] = record(**{f.name: given.pop(f.name) for f in fields(record)})
        command(**given)

    spread.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    spread.__annotations__ = {parameter.name: parameter.annotation for parameter in flat}
    return spread
