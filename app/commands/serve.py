"""``mixwright serve`` and ``mixwright db upgrade``."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from app.settings import Settings

# One package of the extra is enough to tell whether it is installed.
_MARKERS = ("fastapi", "sqlalchemy", "alembic", "uvicorn", "pydantic_settings")

DataDir = Annotated[
    Path | None, typer.Option(help="Folder of the embedded database [default: .mixwright, or MIXWRIGHT_DATA_DIR].")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(serve)
    database = typer.Typer(help="The service's database.", no_args_is_help=True)
    database.command("upgrade")(upgrade_database)
    app.add_typer(database, name="db")


def serve(
    host: Annotated[str | None, typer.Option(help="Address to bind [default: 127.0.0.1, or MIXWRIGHT_HOST].")] = None,
    port: Annotated[int | None, typer.Option(help="Port to bind; 0 takes a free one [default: 8321].")] = None,
    data_dir: DataDir = None,
    workers: Annotated[int | None, typer.Option(help="Processes for fits and recommendations [default: 1].")] = None,
    agent: Annotated[
        Path | None,
        typer.Option(metavar="CORPUS_DIR", help="Also start a local agent that trains proxy runs on this corpus."),
    ] = None,
) -> None:
    """Start the service: API, dashboard, job workers and, when asked, a local agent. Ctrl-C stops all of them."""
    _require_service()
    from app.errors import RefusedToStart
    from app.serve import serve as run_service

    settings = _settings(host=host, port=port, data_dir=data_dir, workers=workers)
    where = (settings.database_url and "PostgreSQL") or str(settings.data_dir)

    def announce(url: str) -> None:
        typer.echo(f"Mixwright is at {url} (data in {where}); Ctrl-C stops it.")

    try:
        run_service(settings, agent, announce)
    except RefusedToStart as exc:
        _refuse(exc.detail)


def upgrade_database(data_dir: DataDir = None) -> None:
    """Create the database, or bring it to the revision that this version needs."""
    _require_service()
    from app.errors import RefusedToStart
    from app.migrate import check_version, upgrade

    settings = _settings(data_dir=data_dir)
    try:
        check_version(settings)
        revision = upgrade(settings)
    except RefusedToStart as exc:
        _refuse(exc.detail)
    typer.echo(f"The database is at revision {revision}.")


def _settings(**given: object) -> Settings:
    from app.errors import RefusedToStart
    from app.settings import read_settings

    try:
        return read_settings(**given)
    except RefusedToStart as exc:
        _refuse(exc.detail)


def _require_service() -> None:
    missing = [name for name in _MARKERS if importlib.util.find_spec(name) is None]
    if missing:
        _refuse(f"this command needs {missing[0]}; install it with: pip install 'mixwright[service]'")


def _refuse(sentence: str) -> NoReturn:
    typer.echo(f"mixwright: {sentence}", err=True)
    raise typer.Exit(1)
