"""Recommendations written to files for trainers."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console

from app.calls.errors import ClientError
from app.client import Client
from app.online.lookups import find_recommendation, find_study
from app.schemas.exports import ExportFormatRead, ExportRead
from app.schemas.jobs import JobState
from app.schemas.recommendations import RecommendationRead
from app.terminal import say


def wanted_recommendation(client: Client, text: str) -> RecommendationRead:
    """The recommendation of this id, or what the study of this name acts on: the adopted one, else the newest.

    Raises:
        ClientError: there is neither.
    """
    try:
        return find_recommendation(client, text)
    except ClientError as no_recommendation:
        try:
            study = find_study(client, text)
        except ClientError:
            raise ClientError(f"there is no recommendation and no study {text!r}") from no_recommendation
    if study.adopted_recommendation_id is not None:
        return client.get_recommendation(study.adopted_recommendation_id)
    made = client.list_recommendations(study.id, limit=1, state=JobState.SUCCEEDED).items
    if not made:
        raise ClientError(f"study {study.name} has no recommendation yet; make one: mixwright recommend {study.name}")
    return client.get_recommendation(made[0].id)


def show_export(console: Console, export: ExportRead, paths: list[Path]) -> None:
    """Where the files are, and what to know of them."""
    what = f"the {export.mixture.replace('_', ' ')} mixture of recommendation {export.recommendation_id}"
    say(console, f"Wrote {what} as {export.format}: {', '.join(map(str, paths))}.")
    for note in export.notes:
        say(console, note)


def print_files(export: ExportRead) -> None:
    """The texts on stdout, each under its name where there are several; what to know of them on stderr."""
    for file in export.files:
        if len(export.files) > 1:
            typer.echo(f"==> {file.name} <==")
        typer.echo(file.text, nl=not file.text.endswith("\n"))
    for note in export.notes:
        typer.echo(note, err=True)


def options_of(one: ExportFormatRead) -> str:
    """The options of a format in one phrase."""
    return ", ".join(
        option.name if option.default is None else f"{option.name}={str(option.default).lower() or chr(34) * 2}"
        for option in one.options
    )
