"""``mixwright events``: what happened, and what is happening."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from app.command_options import with_records
from app.connection import ONLINE, ConnectionOptions, Limit, connected

if TYPE_CHECKING:
    from app.schemas.events import EventRead


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(rich_help_panel=ONLINE)(with_records(events))


def events(
    connection: ConnectionOptions,
    study: Annotated[str | None, typer.Option(help="Only those of one study: its name or id.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only kinds that start like this, such as run.")] = None,
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Only later ones, in UTC.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what happens, until Ctrl-C.")] = False,
    after: Annotated[str | None, typer.Option(metavar="KEY", help="With --follow: begin after this event.")] = None,
    limit: Limit = 50,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document; with --follow, one a line.")
    ] = False,
) -> None:
    """Show what happened last, oldest first; with --follow also what happens from now on."""
    from datetime import UTC

    from app.calls.errors import ClientError
    from app.online import lookups, output
    from app.online.bodies import body_of
    from app.schemas.events import EventQuery

    if after is not None and not follow:
        raise ClientError("--after says where --follow begins; give that too")
    fields = {"kind": kind, "since": since and since.replace(tzinfo=UTC)}
    query = body_of(EventQuery, fields, "the question")
    with connected(connection) as client:
        study_id = None if study is None else lookups.find_study(client, study).id
        latest = output.first([] if after else client.find_events(query, study_id), limit)
        latest.items.reverse()
        if as_json and not follow:
            typer.echo(output.document(latest))
            return
        for event in latest.items:
            _tell(event, as_json)
        if follow:
            newest = latest.items[-1].key if latest.items else None
            for event in client.events(study_id, after or newest, kind):
                _tell(event, as_json)


def _tell(event: EventRead, as_json: bool) -> None:
    from app.online.schedule_tables import event_line

    typer.echo(event.model_dump_json() if as_json else event_line(event))
