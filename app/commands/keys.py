"""``mixwright keys`` and ``mixwright login-link``: they work on the database itself, so nobody is ever locked out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from app.commands.serve import PANEL, DataDir

if TYPE_CHECKING:
    from app.db import Database
    from app.settings import Settings

_SCOPES = "read, write, agent or admin"


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    keys = typer.Typer(help="API keys, on the service's database itself.", no_args_is_help=True)
    for command in (create, list_keys, revoke):
        keys.command(command.__name__.removesuffix("_keys"))(command)
    app.add_typer(keys, name="keys", rich_help_panel=PANEL)
    app.command("login-link", rich_help_panel=PANEL)(login_link)


def create(
    name: Annotated[str, typer.Argument(help="Whose key it is, or what for.")],
    scope: Annotated[list[str], typer.Option(help=f"What it may do: {_SCOPES}; may be given several times.")],
    study: Annotated[UUID | None, typer.Option(help="Bind it to one study; it sees nothing else.")] = None,
    expires_days: Annotated[float | None, typer.Option(min=0.001, max=3650, help="Days until it expires.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write it to this file, for you alone to read, instead of printing it; if the file holds a usable key "
            "of the same scopes and study already, that one stays.",
        ),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Make a key and print it. It is shown this once."""
    from app.clock import utc_now
    from app.errors import InvalidRequest
    from app.key_file import keep_key
    from app.principal import Scope
    from app.schemas.keys import KeyCreate
    from app.services.keys import create_key

    unknown = [given for given in scope if given not in set(Scope)]
    if unknown:
        raise InvalidRequest.of("--scope", f"{unknown[0]!r} is not one", _SCOPES)
    if not 1 <= len(name) <= 200:
        raise InvalidRequest.of("NAME", f"has {len(name)} characters", "1 to 200")
    now = utc_now()
    expires_at = None if expires_days is None else now + timedelta(days=expires_days)
    body = KeyCreate(name=name, scopes=[Scope(each) for each in set(scope)], study_id=study, expires_at=expires_at)
    with _database(data_dir) as (_, database), database.write() as session:
        if out is None:
            typer.echo(create_key(session, body, now).key)
        elif keep_key(session, out, body, now):
            typer.echo(f"The key is in {out}.")
        else:
            typer.echo(f"{out} holds such a key already.")


def list_keys(data_dir: DataDir = None) -> None:
    """List every key: what it may do, and whether it still works."""
    from rich.table import Column, Table

    from app.clock import utc_now
    from app.services.keys import list_keys as list_page
    from app.terminal import report_console

    # The whole id at any width of the terminal: 'keys revoke' takes nothing less.
    table = Table(Column("id", no_wrap=True, min_width=36), "name", "scopes", "study", "state", "last used")
    now, cursor = utc_now(), None
    with _database(data_dir) as (_, database), database.read() as session:
        while True:
            page = list_page(session, 1000, cursor)
            for key in page.items:
                ended = key.expires_at is not None and key.expires_at <= now
                until = "usable" if key.expires_at is None else f"until {key.expires_at:%Y-%m-%d %H:%M}"
                state = "revoked" if key.revoked_at else "expired" if ended else until
                used = f"{key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never"
                table.add_row(str(key.id), key.name, ", ".join(key.scopes), str(key.study_id or "any"), state, used)
            cursor = page.next_cursor
            if cursor is None:
                break
    report_console().print(table)


def revoke(
    key_id: Annotated[UUID, typer.Argument(help="The id that 'mixwright keys list' shows.")], data_dir: DataDir = None
) -> None:
    """Make a key useless, for good. A running service notices within seconds."""
    from app.clock import utc_now
    from app.services.keys import revoke_key

    with _database(data_dir) as (_, database), database.write() as session:
        key = revoke_key(session, key_id, utc_now())
    typer.echo(f"The key {key.name} ({key.id}) is revoked.")


def login_link(data_dir: DataDir = None) -> None:
    """Print a link that logs you in to the dashboard, once, within 15 minutes."""
    from app.clock import utc_now
    from app.first_key import login_link as make_link

    with _database(data_dir) as (settings, database):
        typer.echo(make_link(settings, database, utc_now()))


@contextmanager
def _database(data_dir: Path | None) -> Iterator[tuple[Settings, Database]]:
    """The settings and the database, brought to this version's revision."""
    from app.db import Database
    from app.migrate import check_version, upgrade
    from app.settings import read_settings

    settings = read_settings(data_dir=data_dir)
    check_version(settings)
    upgrade(settings)
    database = Database(settings.resolved_database_url)
    try:
        yield settings, database
    finally:
        database.dispose()
