"""How the command line speaks: the report on stdout, progress on stderr, sentences and numbers in one form."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

OnProgress = Callable[[float, str], None]

# Without a terminal there is no bar to redraw: a line now and then, and none for what is quick.
_QUIET_SECONDS = 2.0
_SECONDS_BETWEEN_LINES = 10.0
# What a file or a pipe gets: wide enough that a table of the report is not cut.
_WIDTH_WITHOUT_TERMINAL = 140


def report_console() -> Console:
    """Where the report goes. Names of domains are shown as they are, brackets included."""
    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH_WITHOUT_TERMINAL)
    return console


def say(console: Console, sentence: str) -> None:
    """A sentence as one line: whoever shows it breaks it."""
    console.print(sentence, soft_wrap=True)


def number(value: float | None, digits: int = 4) -> str:
    """A number, or a dash where it is not known or not defined."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


@contextmanager
def progress(title: str, quiet: bool) -> Iterator[OnProgress]:
    """A function ``(share done, what is at work)`` that shows progress on stderr while the block runs.

    Args:
        quiet: show nothing unless stderr is a terminal; for commands whose caller is a program.
    """
    console = Console(stderr=True, markup=False, highlight=False)
    if console.is_terminal:
        with _bar(title, console) as on_progress:
            yield on_progress
    elif quiet:
        yield _silent
    else:
        yield _lines(title, console)


@contextmanager
def _bar(title: str, console: Console) -> Iterator[OnProgress]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=1.0)

        def on_progress(done: float, what: str) -> None:
            bar.update(task, completed=done, description=f"{title}: {what}")

        yield on_progress


def _silent(done: float, what: str) -> None:
    del done, what


def _lines(title: str, console: Console) -> OnProgress:
    due = time.monotonic() + _QUIET_SECONDS

    def on_progress(done: float, what: str) -> None:
        nonlocal due
        now = time.monotonic()
        if now >= due:
            console.print(f"{title}: {what} ({done:.0%})", soft_wrap=True)
            due = now + _SECONDS_BETWEEN_LINES

    return on_progress
