"""``mixwright demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(demo)


def demo(
    folder: Annotated[Path, typer.Option(help="Keeps the text, the corpus, the database and the report.")] = Path(
        ".mixwright/demo"
    ),
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of the service, 0 for a free one [default: 8321].")
    ] = None,
    runs: Annotated[int, typer.Option(min=8, max=10_000, help="Proxy runs of the swarm.")] = 64,
    seeds: Annotated[int, typer.Option(min=3, max=50, help="Seeds of the verification.")] = 6,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the service up when the report is done.")] = False,
) -> None:
    """The main job end to end on real text: from raw documents to a recommended mixture, verified by training."""
    from app.demo.run import DemoOptions, run_demo
    from app.terminal import report_console

    options = DemoOptions(folder, port, runs, tuple(range(1, seeds + 1)), keep)
    run_demo(options, report_console())
