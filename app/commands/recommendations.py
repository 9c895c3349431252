"""``mixwright recommendations``: what the service recommended, how they differ, and whether they hold."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from app.command_options import AsJson, with_records
from app.connection import ONLINE, ConnectionOptions, Limit, StudyName, connected

_Recommendation = Annotated[
    str, typer.Argument(metavar="RECOMMENDATION", help="Id of the recommendation, or a part of it.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    group = typer.Typer(help="Recommendations of a study ('mixwright recommend' makes one).", no_args_is_help=True)
    for name, command in (
        ("list", list_recommendations),
        ("show", show),
        ("diff", diff),
        ("cancel", cancel),
        ("verify", verify),
        ("verification", verification),
    ):
        group.command(name)(with_records(command))
    app.add_typer(group, name="recommendations", rich_help_panel=ONLINE)


def list_recommendations(
    study: StudyName, connection: ConnectionOptions, limit: Limit = 100, as_json: AsJson = False
) -> None:
    """List the recommendations of a study, newest first."""
    from app.online import lookups, output, recommendation_report

    with connected(connection) as client:
        found = output.first(client.all_recommendations(lookups.find_study(client, study).id), limit)
    columns, row = recommendation_report.RECOMMENDATION_COLUMNS, recommendation_report.recommendation_row
    output.give_list(found, as_json, columns, row, "Nothing is recommended yet; 'mixwright recommend STUDY' does it.")


def show(
    recommendation: _Recommendation,
    connection: ConnectionOptions,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a recommendation: weights, predictions beside each baseline, prices of constraints."""
    from app.online import lookups, output, recommendation_report, waiting

    with connected(connection) as client:
        found = lookups.find_recommendation(client, recommendation)
        if wait:
            found = waiting.finished_recommendation(client, found.id, quiet=as_json)
        targets = lookups.targets_of(client, found)
    output.give(found, as_json, partial(recommendation_report.show_recommendation, targets))


def diff(
    recommendation: _Recommendation,
    connection: ConnectionOptions,
    against: Annotated[str, typer.Option(help="Another recommendation, prior, adopted, or a baseline.")] = "prior",
    as_json: AsJson = False,
) -> None:
    """Compare a recommendation with another mixture: what moves and what it gains."""
    from app.online import lookups, output, recommendation_report

    with connected(connection) as client:
        found = lookups.find_recommendation(client, recommendation)
        other = lookups.other_recommendation(client, found.study_id, against)
        compared = client.diff(found.id, other)
        unit, _ = recommendation_report.objective_of(found, lookups.targets_of(client, found))
    output.give(compared, as_json, partial(recommendation_report.show_diff, unit))


def cancel(recommendation: _Recommendation, connection: ConnectionOptions, as_json: AsJson = False) -> None:
    """Take back a recommendation that is not finished."""
    from app.online import lookups, output
    from app.terminal import say

    with connected(connection) as client:
        done = client.cancel_recommendation(lookups.find_recommendation(client, recommendation).id)
    output.give(done, as_json, lambda console, _: say(console, f"Recommendation {done.id} is {done.state}."))


def verify(
    recommendation: _Recommendation,
    settings: Annotated[Path, typer.Option(metavar="FILE.json", help="Settings of the runs: corpus_hash, ...")],
    connection: ConnectionOptions,
    seeds: Annotated[int, typer.Option(min=2, max=100, help="How many seeds train each mixture.")] = 3,
    first_seed: Annotated[int, typer.Option(min=0, help="The first of the seeds.")] = 1,
    model: Annotated[
        str | None, typer.Option(metavar="PRESET", help="Shape of the model by its size, such as 15M.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Queue runs of the recommended mixture and the baselines, to see whether the gain is real."""
    from app.online import lookups, output
    from app.online.bodies import body_of
    from app.online.run_sources import read_settings
    from app.schemas.recommendations import VerificationCreate
    from app.terminal import say

    fields = {"settings": read_settings(settings, model), "seeds": list(range(first_seed, first_seed + seeds))}
    body = body_of(VerificationCreate, fields, "the verification")
    with connected(connection) as client:
        found = lookups.find_recommendation(client, recommendation)
        created = client.create_verification(found.id, body)
    sentence = f"Queued {len(created.runs)} runs; what they measure: mixwright recommendations verification {found.id}"
    output.give(created, as_json, lambda console, _: say(console, sentence))


def verification(recommendation: _Recommendation, connection: ConnectionOptions, as_json: AsJson = False) -> None:
    """Show what the verification runs measured so far, beside what was predicted."""
    from app.online import lookups, output, recommendation_report

    with connected(connection) as client:
        asked = lookups.find_recommendation(client, recommendation)
        found = client.get_verification(asked.id)
        unit, _ = recommendation_report.objective_of(asked, lookups.targets_of(client, asked))
    output.give(found, as_json, partial(recommendation_report.show_verification, unit))
