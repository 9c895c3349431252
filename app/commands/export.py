"""``mixwright export``: a recommendation in the format of a trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.command_options import AsJson, with_records
from app.connection import ONLINE, ConnectionOptions, connected


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(rich_help_panel=ONLINE)(with_records(export))


def export(
    connection: ConnectionOptions,
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[RECOMMENDATION|STUDY]",
            help="A recommendation, or a study: what it has adopted, else the newest.",
        ),
    ] = None,
    format_name: Annotated[
        str | None, typer.Argument(metavar="[FORMAT]", help="A format that --list names, such as megatron.")
    ] = None,
    to: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write the files there, not to the screen.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="An option of the format; repeatable.")
    ] = None,
    mixture: Annotated[
        str | None,
        typer.Option(
            metavar="offered|recommended|best_measured",
            help="Which of its mixtures; without it the adopted one, else the recommended one.",
        ),
    ] = None,
    list_formats: Annotated[bool, typer.Option("--list", help="List the formats and their options.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a recommendation for a trainer."""
    from app import terminal
    from app.calls.errors import ClientError
    from app.online import exporting, output
    from app.online.bodies import body_of
    from app.option_texts import pairs
    from app.schemas.mixture_choice import AdoptionCreate
    from app.trainer_files import check_folder, write_files

    if list_formats:
        _list_formats(connection, as_json)
        return
    if what is None or format_name is None:
        raise ClientError("name a recommendation (or a study) and a format; --list names the formats")
    options = pairs("--option", option)
    wanted = None if mixture is None else body_of(AdoptionCreate, {"mixture": mixture}, "--mixture").mixture
    if to is not None:
        check_folder(to)
    with connected(connection) as client:
        made = client.export(exporting.wanted_recommendation(client, what).id, format_name, options, wanted)
    paths = [] if to is None else write_files(to, [(file.name, file.text) for file in made.files])
    if as_json:
        typer.echo(output.document(made))
    elif to is None:
        exporting.print_files(made)
    else:
        exporting.show_export(terminal.report_console(), made, paths)


def _list_formats(connection: ConnectionOptions, as_json: bool) -> None:
    from app.online import exporting, output

    with connected(connection) as client:
        formats = output.Listing(items=client.list_export_formats().items, more=False)
    output.give_list(
        formats,
        as_json,
        ("format", "what it is for", "options"),
        lambda one: (one.name, one.title, exporting.options_of(one)),
        "There is none.",
    )
