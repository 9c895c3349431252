"""The progress bar of commands: on standard error, and only on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

PERCENTAGE = TextColumn("{task.percentage:>3.0f} %")


@contextmanager
def progress_bar(amount: ProgressColumn = PERCENTAGE) -> Iterator[Progress]:
    """A bar with a description before it, and ``amount`` and the time that is left behind it; gone at the end."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), amount, TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield progress
