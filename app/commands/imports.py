"""``mixwright imports``: the formats that runs can be taken from, and the reports of imports."""

from __future__ import annotations

from typing import Annotated

import typer

from app.command_options import AsJson, with_records
from app.connection import ONLINE, ConnectionOptions, Limit, StudyName, connected


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    group = typer.Typer(help="Formats and reports of imports ('mixwright runs import').", no_args_is_help=True)
    for name, command in (("formats", formats), ("list", list_imports), ("show", show)):
        group.command(name)(with_records(command))
    app.add_typer(group, name="imports", rich_help_panel=ONLINE)


def formats(connection: ConnectionOptions, as_json: AsJson = False) -> None:
    """List the formats that runs can be taken from, and their options."""
    from app.online import output

    with connected(connection) as client:
        listed = client.list_import_formats()
    found = output.Listing(items=listed.items, more=False)
    output.give_list(
        found,
        as_json,
        ("format", "what it reads", "options"),
        lambda one: (one.name, one.title, ", ".join(one.options.get("properties", {})) or "-"),
        "None.",
    )


def list_imports(study: StudyName, connection: ConnectionOptions, limit: Limit = 100, as_json: AsJson = False) -> None:
    """List the imports of a study, newest first."""
    from app.calls.pages import walked
    from app.online import lookups, output

    with connected(connection) as client:
        study_id = lookups.find_study(client, study).id
        found = output.first(walked(lambda cursor: client.list_imports(study_id, 100, cursor)), limit)
    output.give_list(
        found,
        as_json,
        ("id", "when", "format", "source", ">read", ">taken"),
        lambda one: (
            str(one.id), output.when(one.created_at), one.format, one.source, str(one.runs_read), str(one.taken),
        ),
        "Nothing was imported yet.",
    )  # fmt: skip


def show(
    report: Annotated[str, typer.Argument(metavar="IMPORT", help="Id of the import.")],
    connection: ConnectionOptions,
    as_json: AsJson = False,
) -> None:
    """Show the report of an import."""
    from app.online import lookups, output, study_tables

    with connected(connection) as client:
        found = lookups.find_import(client, report)
    output.give(found, as_json, study_tables.show_import)
