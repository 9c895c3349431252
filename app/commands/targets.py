"""``mixwright targets``: what the runs of a study measure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from app.command_options import AsJson, with_records
from app.connection import ONLINE, ConnectionOptions, StudyName, connected

_TargetName = Annotated[str, typer.Argument(metavar="TARGET", help="Name of the target.")]


@dataclass(frozen=True)
class TargetOptions:
    """What is said of a target; what is left out stays as it is, or is as the service has it."""

    unit: Annotated[str | None, typer.Option(help="Unit of its values, such as bits_per_byte.")] = None
    direction: Annotated[str | None, typer.Option(metavar="minimize|maximize", help="Which values are better.")] = None
    weight: Annotated[float | None, typer.Option(min=0, help="Its importance in the objective.")] = None
    family: Annotated[str | None, typer.Option(help="The family that it belongs to.")] = None
    definition: Annotated[str | None, typer.Option(help="How it is computed.")] = None

    def given(self) -> dict[str, object]:
        """The fields that were given."""
        return {name: value for name, value in asdict(self).items() if value is not None}


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
    options: TargetOptions,
    connection: ConnectionOptions,
    as_json: AsJson = False,
) -> None:
    """Add a target. Runs that are measured already have no value of it."""
    from app.online import lookups, output, study_tables
    from app.online.bodies import body_of
    from app.schemas.studies import TargetIn

    body = body_of(TargetIn, {"name": target, **options.given()}, "the target")
    with connected(connection) as client:
        added = client.add_target(lookups.find_study(client, study).id, body)
    output.give(added, as_json, study_tables.show_target)


def change_target(
    study: StudyName,
    target: _TargetName,
    options: TargetOptions,
    connection: ConnectionOptions,
    as_json: AsJson = False,
) -> None:
    """Change a target; what its values mean is fixed once there are some."""
    from app.calls.errors import ClientError
    from app.online import lookups, output, study_tables
    from app.online.bodies import body_of
    from app.schemas.targets import TargetPatch

    if not options.given():
        raise ClientError("nothing is to be changed; --help lists what can be")
    body = body_of(TargetPatch, options.given(), "the change")
    with connected(connection) as client:
        changed = client.change_target(lookups.find_study(client, study).id, target, body)
    output.give(changed, as_json, study_tables.show_target)
