"""The options that say which mixtures runs are queued with; ``app/online/run_sources.py`` reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer


@dataclass(frozen=True)
class MixtureOptions:
    """Mixtures of a design, or those of a table."""

    count: Annotated[int | None, typer.Option(min=1, help="How many mixtures of the design.")] = None
    design: Annotated[str, typer.Option(help="The design that the mixtures come from.")] = "dirichlet"
    seed: Annotated[int, typer.Option(min=0, help="Seed of the design.")] = 0
    mixtures: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Mixtures: columns run_id and w:<domain>.")
    ] = None
