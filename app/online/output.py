"""How the online commands answer: one JSON document for programs, tables for people."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import islice
from typing import Generic, TypeVar

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from app import terminal
from app.terminal import say

# Weights under this are left out of a phrase.
_TRACE = 5e-4

Item = TypeVar("Item", bound=BaseModel)
Body = TypeVar("Body", bound=BaseModel)


class Listing(BaseModel, Generic[Item]):
    """The first items of a list; ``more`` says that there are others."""

    items: list[Item]
    more: bool


def first(items: Iterable[Item], most: int) -> Listing[Item]:
    """At most ``most`` items."""
    found = list(islice(items, most + 1))
    return Listing(items=found[:most], more=len(found) > most)


def give(body: Body, as_json: bool, show: Callable[[Console, Body], None]) -> None:
    """Print ``body`` as one document, or show it to a person."""
    if as_json:
        typer.echo(document(body))
    else:
        show(terminal.report_console(), body)


def document(body: BaseModel) -> str:
    """The text of a body; what is not a number is null there already."""
    return json.dumps(body.model_dump(mode="json"), indent=2, allow_nan=False)


def give_list(
    listing: Listing[Item],
    as_json: bool,
    columns: Sequence[str],
    row: Callable[[Item], Sequence[str]],
    nothing: str,
) -> None:
    """Print a list as one document or as a table.

    Args:
        nothing: the sentence where the list is empty.
    """
    if as_json:
        typer.echo(document(listing))
        return
    console = terminal.report_console()
    if not listing.items:
        say(console, nothing)
        return
    console.print(table(columns, (row(item) for item in listing.items)))
    if listing.more:
        say(console, f"Only the first {len(listing.items)} are shown; --limit shows more.")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> Table:
    """A table whose columns are as wide as the terminal allows; one whose heading starts with ``>`` is for numbers."""
    made = Table(title=title, title_justify="left")
    for column in columns:
        heading = column.removeprefix(">")
        # An id that is cut off cannot be copied.
        made.add_column(
            heading,
            justify="right" if column != heading else "left",
            overflow="fold",
            no_wrap=heading in ("id", "state"),
        )
    for row in rows:
        made.add_row(*row)
    return made


def when(moment: datetime | None) -> str:
    """A time in UTC to the minute."""
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M}"


def count(value: float | None) -> str:
    """A large number in a few characters."""
    if value is None:
        return "-"
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"


def mixture(weights: dict[str, float], most: int = 6) -> str:
    """The largest weights of a mixture in one phrase."""
    ordered = sorted(((name, weight) for name, weight in weights.items() if weight > 0), key=lambda pair: -pair[1])
    ordered = [pair for pair in ordered if pair[1] >= _TRACE] or ordered
    parts = [f"{name} {weight:.3f}" for name, weight in ordered[:most]]
    return ", ".join([*parts, *(["..."] if len(ordered) > most else [])])
