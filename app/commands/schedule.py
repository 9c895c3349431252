"""``mixwright schedule``: what the service does by itself, by cron expressions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.command_options import AsJson, with_records
from app.connection import ONLINE, ConnectionOptions, Limit, StudyName, connected

_Schedule = Annotated[
    str, typer.Argument(metavar="SCHEDULE", help="Name of the schedule, its id, or a part of its id.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    group = typer.Typer(help="Top-ups, refits and imports by the clock.", no_args_is_help=True)
    for name, command in (
        ("add", add),
        ("list", list_schedules),
        ("show", show),
        ("pause", pause),
        ("resume", resume),
        ("fire", fire),
        ("history", history),
        ("remove", remove),
    ):
        group.command(name)(with_records(command))
    app.add_typer(group, name="schedule", rich_help_panel=ONLINE)


def add(
    study: StudyName,
    kind: Annotated[str, typer.Argument(metavar="KIND", help="top-up, refit or import.")],
    cron: Annotated[str, typer.Argument(metavar="CRON", help="Such as '30 2 * * MON-FRI', in quotes.")],
    connection: ConnectionOptions,
    name: Annotated[str | None, typer.Option(help="What it is called [default: its kind].")] = None,
    time_zone: Annotated[str, typer.Option(help="The clock that the expression is read by.")] = "UTC",
    missed: Annotated[str, typer.Option(metavar="skip|once|all", help="What happens to missed firings.")] = "once",
    settings: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="Settings of the kind, such as the runs of a top-up.")
    ] = None,
    setting: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="One of the settings; repeatable.")
    ] = None,
    paused: Annotated[bool, typer.Option("--paused", help="Do not begin yet.")] = False,
    as_json: AsJson = False,
) -> None:
    """Plan a top-up of the swarm, a refit or an import."""
    from app.calls.errors import ClientError
    from app.online import lookups, output, schedule_tables
    from app.online.bodies import body_of, read_json, scalars
    from app.option_texts import pairs
    from app.schemas.schedules import ScheduleCreate

    told = {} if settings is None else read_json(settings)
    if not isinstance(told, dict):
        raise ClientError(f"{settings} holds no JSON object")
    fields = {
        "name": name or kind,
        "kind": kind,
        "cron": cron,
        "time_zone": time_zone,
        "missed": missed,
        "settings": told | scalars(pairs("--setting", setting)),
        "enabled": not paused,
    }
    body = body_of(ScheduleCreate, fields, "the schedule")
    with connected(connection) as client:
        made = client.create_schedule(lookups.find_study(client, study).id, body)
    output.give(made, as_json, schedule_tables.show_schedule)


def list_schedules(
    study: StudyName, connection: ConnectionOptions, limit: Limit = 100, as_json: AsJson = False
) -> None:
    """List the schedules of a study, oldest first."""
    from app.online import lookups, output, schedule_tables

    with connected(connection) as client:
        found = output.first(client.all_schedules(lookups.find_study(client, study).id), limit)
    columns, row = schedule_tables.SCHEDULE_COLUMNS, schedule_tables.schedule_row
    output.give_list(found, as_json, columns, row, "Nothing is planned.")


def show(schedule: _Schedule, connection: ConnectionOptions, as_json: AsJson = False) -> None:
    """Show a schedule and when it fires next."""
    from app.online import lookups, output, schedule_tables

    with connected(connection) as client:
        found = lookups.find_schedule(client, schedule)
    output.give(found, as_json, schedule_tables.show_schedule)


def pause(schedule: _Schedule, connection: ConnectionOptions, as_json: AsJson = False) -> None:
    """Fire no more until it is resumed."""
    _set(schedule, connection, as_json, enabled=False)


def resume(schedule: _Schedule, connection: ConnectionOptions, as_json: AsJson = False) -> None:
    """Fire again, from its next time on."""
    _set(schedule, connection, as_json, enabled=True)


def fire(schedule: _Schedule, connection: ConnectionOptions, as_json: AsJson = False) -> None:
    """Do it once now, whatever its times are."""
    from app.online import lookups, output, schedule_tables

    with connected(connection) as client:
        fired = client.fire_schedule(lookups.find_schedule(client, schedule).id)
    output.give(fired, as_json, schedule_tables.show_firing)


def history(schedule: _Schedule, connection: ConnectionOptions, limit: Limit = 100, as_json: AsJson = False) -> None:
    """List what a schedule did, newest first."""
    from app.online import lookups, output, schedule_tables

    with connected(connection) as client:
        found = output.first(client.all_firings(lookups.find_schedule(client, schedule).id), limit)
    columns, row = schedule_tables.FIRING_COLUMNS, schedule_tables.firing_row
    output.give_list(found, as_json, columns, row, "It has not fired yet.")


def remove(schedule: _Schedule, connection: ConnectionOptions, as_json: AsJson = False) -> None:
    """Delete a schedule and its history; what it made stays."""
    from app.online import lookups, output
    from app.terminal import say

    with connected(connection) as client:
        found = lookups.find_schedule(client, schedule)
        client.delete_schedule(found.id)
    sentence = f"Schedule {found.name} ({found.id}) is deleted."
    output.give(found, as_json, lambda console, _: say(console, sentence))


def _set(schedule: str, connection: ConnectionOptions, as_json: bool, enabled: bool) -> None:
    from app.online import lookups, output, schedule_tables
    from app.schemas.schedules import SchedulePatch

    with connected(connection) as client:
        changed = client.change_schedule(lookups.find_schedule(client, schedule).id, SchedulePatch(enabled=enabled))
    output.give(changed, as_json, schedule_tables.show_schedule)
