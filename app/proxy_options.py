"""The options of ``mixwright proxy specs`` that say what all runs share; ``app/proxy_specs.py`` reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer


@dataclass(frozen=True)
class SettingsOptions:
    """What all runs share; each option stands above the file."""

    tokens: Annotated[int | None, typer.Option(min=1, help="Tokens to train each run on.")] = None
    model: Annotated[
        str | None, typer.Option(metavar="PRESET", help="Size of the models, as 'proxy presets' lists them.")
    ] = None
    learning_rate: Annotated[float | None, typer.Option(help="Peak rate, as of the smallest preset.")] = None
    schedule: Annotated[str | None, typer.Option(help="constant, cosine, linear or wsd.")] = None
    measure_at: Annotated[
        list[int] | None, typer.Option(min=1, help="Also measure after this many tokens; repeatable.")
    ] = None
    settings: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="All other settings, as for 'runs queue'.")
    ] = None
