"""``mixwright targets``: what the runs of a study measure."""

from __future__ import annotations

from typing import Annotated

import typer

from app.command_options import AsJson, with_records
from app.connection import ONLINE, ConnectionOptions, StudyName, connected

_TargetName = Annotated[str, typer.Argument(metavar="TARGET", help="Name of the target.")]
_Unit = Annotated[str | None, typer.Option(help="Unit of its values, such as bits_per_byte.")]
_Weight = Annotated[float | None, typer.Option(min=0, help="Its importance in the objective.")]
_Family = Annotated[str | None, typer.Option(help="The family that it belongs to.")]
_Definition = Annotated[str | None, typer.Option(help="How it is computed.")]
_Direction = Annotated[str | None, typer.Option(metavar="minimize|maximize", help="Which values are better.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    group = typer.Typer(help="What the runs of a study measure.", no_args_is_help=True)
    for name, command in (("list", list_targets), ("add", add_target), ("set", change_target)):
        group.command(name)(with_records(command))
    app.add_typer(group, name="targets", rich_help_panel=ONLINE)


def list_targets(study: StudyName, connection: ConnectionOptions, as_json: AsJson = False) -> None:
    """List the targets of a study in their order."""
    from app.online import lookups, output, study_tables

    with connected(connection) as client:
        listed = client.list_targets(lookups.find_study(client, study).id, limit=1000)
    found = output.Listing(items=listed.items, more=listed.next_cursor is not None)
    output.give_list(found, as_json, study_tables.TARGET_COLUMNS, study_tables.target_row, "There is no target.")


def add_target(
    study: StudyName,
    target: _TargetName,
    connection: ConnectionOptions,
    unit: _Unit = None,
    direction: _Direction = None,
    weight: _Weight = None,
    family: _Family = None,
    definition: _Definition = None,
    as_json: AsJson = False,
) -> None:
    """Add a target. Runs that are measured already have no value of it."""
    from app.online import lookups, output, study_tables
    from app.online.bodies import body_of
    from app.schemas.studies import TargetIn

    given = {"unit": unit, "direction": direction, "weight": weight, "family": family, "definition": definition}
    fields = {"name": target} | {name: value for name, value in given.items() if value is not None}
    body = body_of(TargetIn, fields, "the target")
    with connected(connection) as client:
        added = client.add_target(lookups.find_study(client, study).id, body)
    output.give(added, as_json, study_tables.show_target)


def change_target(
    study: StudyName,
    target: _TargetName,
    connection: ConnectionOptions,
    unit: _Unit = None,
    direction: _Direction = None,
    weight: _Weight = None,
    family: _Family = None,
    definition: _Definition = None,
    as_json: AsJson = False,
) -> None:
    """Change a target; what its values mean is fixed once there are some."""
    from app.calls.errors import ClientError
    from app.online import lookups, output, study_tables
    from app.online.bodies import body_of
    from app.schemas.targets import TargetPatch

    given = {"unit": unit, "direction": direction, "weight": weight, "family": family, "definition": definition}
    fields = {name: value for name, value in given.items() if value is not None}
    if not fields:
        raise ClientError("nothing is to be changed; --help lists what can be")
    body = body_of(TargetPatch, fields, "the change")
    with connected(connection) as client:
        changed = client.change_target(lookups.find_study(client, study).id, target, body)
    output.give(changed, as_json, study_tables.show_target)
