"""``mixwright backup`` and ``mixwright restore``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.commands.serve import PANEL, DataDir


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(rich_help_panel=PANEL)(backup)
    app.command(rich_help_panel=PANEL)(restore)


def backup(
    file: Annotated[Path, typer.Argument(help="File to make; it must not be there yet.")],
    data_dir: DataDir = None,
) -> None:
    """Copy the embedded database into one file, also while the service runs."""
    from app.backup import back_up
    from app.settings import read_settings

    size = back_up(read_settings(data_dir=data_dir), file)
    typer.echo(f"The database is backed up in {file} ({size:,} bytes).")


def restore(
    file: Annotated[Path, typer.Argument(help="File that 'mixwright backup' made.")],
    data_dir: DataDir = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the database that is there.")] = False,
) -> None:
    """Put a backup in the place of the embedded database. Stop the service first."""
    from app.backup import restore as put_back
    from app.settings import read_settings

    settings = read_settings(data_dir=data_dir)
    put_back(settings, file, replace=force)
    typer.echo(f"The database in {settings.data_dir} is that of {file}; start it with: mixwright serve")
