"""``mixwright serve`` and ``mixwright db upgrade``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

PANEL = "The service"

DataDir = Annotated[
    Path | None, typer.Option(help="Folder of the embedded database [default: MIXWRIGHT_DATA_DIR or .mixwright].")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(rich_help_panel=PANEL)(serve)
    database = typer.Typer(help="The service's database.", no_args_is_help=True)
    database.command("upgrade")(upgrade_database)
    app.add_typer(database, name="db", rich_help_panel=PANEL)


def serve(
    host: Annotated[str | None, typer.Option(help="Address to bind [default: MIXWRIGHT_HOST or 127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(help="Port to bind, 0 for a free one [default: 8321].")] = None,
    data_dir: DataDir = None,
    workers: Annotated[int | None, typer.Option(help="Processes for fits and recommendations [default: 1].")] = None,
    agent: Annotated[
        Path | None,
        typer.Option(metavar="CORPUS_DIR", help="Also start a local agent that trains proxy runs on this corpus."),
    ] = None,
    agents: Annotated[int, typer.Option(min=1, max=64, help="How many local agents; one a core is best.")] = 1,
    parent: Annotated[int | None, typer.Option(hidden=True, help="Stop when this process is not the parent.")] = None,
) -> None:
    """Start the service: API, dashboard, job workers and, when asked, a local agent. Ctrl-C stops all of them."""
    from app.local_key import ADMIN_KEY_FILE
    from app.orphans import exit_with_parent
    from app.serve import LocalAgents, Started
    from app.serve import serve as run_service
    from app.settings import read_settings

    if parent is not None:
        exit_with_parent(parent)  # our own children watch us in the same way
    settings = read_settings(host=host, port=port, data_dir=data_dir, workers=workers)
    where = "the database of MIXWRIGHT_DATABASE_URL" if settings.database_url else str(settings.data_dir)

    def announce(started: Started) -> None:
        typer.echo(f"Mixwright is at {started.url} (data in {where}); Ctrl-C stops it.")
        if started.new_key:
            typer.echo(f"Programs use the admin key in {settings.data_dir / ADMIN_KEY_FILE}.")
        if started.login_link is not None:
            typer.echo(f"Dashboard, once and within 15 minutes: {started.login_link}")
        sys.stdout.flush()

    run_service(settings, None if agent is None else LocalAgents(agent, agents), announce)


def upgrade_database(data_dir: DataDir = None) -> None:
    """Create the database, or bring it to the revision that this version needs."""
    from app.migrate import check_version, upgrade
    from app.settings import read_settings

    settings = read_settings(data_dir=data_dir)
    check_version(settings)
    typer.echo(f"The database is at revision {upgrade(settings)}.")
