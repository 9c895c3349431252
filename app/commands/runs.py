"""``mixwright runs``: what was trained, what waits, and runs that were trained elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from app.command_options import AsJson, with_records
from app.connection import ONLINE, ConnectionOptions, Limit, StudyName, connected
from app.mixture_options import MixtureOptions
from app.schemas.run_fidelity import RunFidelity

if TYPE_CHECKING:
    from app.client import Client
    from app.schemas.runs import RunRead

RunNames = Annotated[list[str], typer.Argument(metavar="RUN...", help="Ids of runs, or parts of them.")]
_Purpose = Annotated[str | None, typer.Option(help="Only runs of this purpose, such as swarm.")]
_Label = Annotated[str | None, typer.Option(help="Only runs with this in their label.")]


@dataclass(frozen=True)
class ImportOptions:
    """How runs are taken in: what is refused, what is replaced, and what the source does not say itself."""

    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="An option of the format; repeatable.")
    ] = None
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report what would happen; store nothing.")] = False
    update: Annotated[bool, typer.Option("--update", help="Replace stored runs that differ.")] = False
    strict: Annotated[bool, typer.Option("--strict", help="Refuse all when a finished run cannot be taken.")] = False
    id_prefix: Annotated[str, typer.Option(help="Put before every id of the source.")] = ""
    model_params: Annotated[int | None, typer.Option(help="Parameters of runs that do not say.")] = None
    train_tokens: Annotated[int | None, typer.Option(help="Tokens of runs that do not say.")] = None
    rename_domain: Annotated[
        list[str] | None, typer.Option(metavar="THEIRS=OURS", help="A domain's other name; repeatable.")
    ] = None
    rename_target: Annotated[
        list[str] | None, typer.Option(metavar="THEIRS=OURS", help="A target's other name; repeatable.")
    ] = None


@dataclass(frozen=True)
class QueueOptions:
    """How often mixtures are queued, as what, and before which others."""

    stages: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE.json",
            help="A run whose weights change on the way: a list of objects with from_token, to_token and weights; "
            "repeatable.",
        ),
    ] = None
    train_seed: Annotated[
        list[int] | None, typer.Option(min=0, help="Train every mixture with this seed; repeatable [default: 0].")
    ] = None
    purpose: Annotated[str, typer.Option(help="What the runs are for.")] = "swarm"
    priority: Annotated[int, typer.Option(help="Higher ones are handed out first.")] = 0
    repeat: Annotated[
        bool, typer.Option("--repeat", help="Queue also what the study has already, instead of skipping it.")
    ] = False


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    group = typer.Typer(help="Proxy runs of a study.", no_args_is_help=True)
    for command in (list_runs, queue, show, cancel, cancel_queued, retry, exclude, include):
        name = command.__name__.removesuffix("_runs").replace("_", "-")
        group.command(name)(with_records(command))
    group.command("import")(with_records(import_runs))
    app.add_typer(group, name="runs", rich_help_panel=ONLINE)


def list_runs(
    study: StudyName,
    connection: ConnectionOptions,
    state: Annotated[
        list[str] | None,
        typer.Option(help="queued, leased, succeeded, failed, cancelled, pruned or stale; repeatable."),
    ] = None,
    purpose: _Purpose = None,
    source: Annotated[str | None, typer.Option(help="proxy, imported, manual or adaptive.")] = None,
    fidelity: Annotated[RunFidelity | None, typer.Option(help="Only runs of this fidelity.")] = None,
    staged: Annotated[
        bool | None, typer.Option("--staged/--not-staged", help="Only runs whose weights change on the way, or not.")
    ] = None,
    label: _Label = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List the runs of a study, oldest first."""
    from app.online import lookups, output, run_tables
    from app.online.bodies import body_of
    from app.schemas.runs import RunQuery
    from app.terminal import report_console, say

    fields = {"state": state or [], "purpose": purpose, "source": source, "label": label}
    fields |= {"fidelity": fidelity, "staged": staged}
    query = body_of(RunQuery, fields, "the question")
    with connected(connection) as client:
        of = lookups.find_study(client, study)
        found = output.first(client.find_runs(of.id, query), limit)
    output.give_list(found, as_json, run_tables.RUN_COLUMNS, run_tables.run_row, "There is no such run.")
    if not as_json:
        for sentence in run_tables.about_waiting(of.runs_without_agent):
            say(report_console(), sentence)


def queue(
    study: StudyName,
    settings: Annotated[
        Path,
        typer.Option(metavar="FILE.json", help="Settings of every run: corpus_hash, train_tokens, model, ..."),
    ],
    asked: MixtureOptions,
    how: QueueOptions,
    connection: ConnectionOptions,
    model: Annotated[
        str | None, typer.Option(metavar="PRESET", help="Shape of the model by its size, such as 15M.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Queue proxy runs for agents: mixtures of a design, those of a table, or plans of stages. What the study has
    already is named and skipped."""
    from app.online import lookups, output, run_sources, run_tables

    body = run_sources.read_settings(settings, model)
    with connected(connection) as client:
        found = lookups.find_study(client, study)
        if how.stages:
            wanted = run_sources.wanted_stages(how.stages, asked)
        else:
            wanted = run_sources.wanted_mixtures(client, found, asked)
        shared = {"settings": body, "purpose": how.purpose, "priority": how.priority}
        runs = run_sources.runs_to_queue(wanted, shared, how.train_seed or [0])
        created = client.create_runs(found.id, runs, how.repeat)
    output.give(created, as_json, lambda console, made: run_tables.show_created(console, made, found.name))


def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Id of the run, or a part of it.")],
    connection: ConnectionOptions,
    as_json: AsJson = False,
) -> None:
    """Show a run: its mixture, what it measured, and each attempt at it."""
    from app.online import lookups, output, run_tables

    with connected(connection) as client:
        found = lookups.find_run(client, run)
        units = {target.name: target.unit for target in client.get_study(found.study_id).targets}
        attempts = client.list_attempts(found.id, limit=1000).items
        story = run_tables.RunStory(run=found, units=units, attempts=attempts)
    output.give(story, as_json, run_tables.show_story)


def cancel(runs: RunNames, connection: ConnectionOptions, as_json: AsJson = False) -> None:
    """Take back runs that have not ended."""
    _each(runs, connection, as_json, lambda client: client.cancel_run)


def cancel_queued(
    study: StudyName,
    connection: ConnectionOptions,
    purpose: _Purpose = None,
    label: _Label = None,
    as_json: AsJson = False,
) -> None:
    """Take back every queued run of a study, or those that match; those in training go on."""
    from app.online import lookups, output
    from app.online.bodies import body_of
    from app.schemas.runs import RunFilter
    from app.terminal import say

    body = body_of(RunFilter, {"purpose": purpose, "label": label}, "the question")
    with connected(connection) as client:
        done = client.cancel_runs(lookups.find_study(client, study).id, body)
    output.give(done, as_json, lambda console, _: say(console, f"Cancelled {done.cancelled} queued runs."))


def retry(runs: RunNames, connection: ConnectionOptions, as_json: AsJson = False) -> None:
    """Queue runs again that failed, went stale, were cancelled or were pruned."""
    _each(runs, connection, as_json, lambda client: client.retry_run)


def exclude(runs: RunNames, connection: ConnectionOptions, as_json: AsJson = False) -> None:
    """Keep runs out of fits."""
    _each(runs, connection, as_json, lambda client: lambda run_id: _excluded(client, run_id, True))


def include(runs: RunNames, connection: ConnectionOptions, as_json: AsJson = False) -> None:
    """Let runs into fits again."""
    _each(runs, connection, as_json, lambda client: lambda run_id: _excluded(client, run_id, False))


def import_runs(
    study: StudyName,
    format_name: Annotated[str, typer.Argument(metavar="FORMAT", help="As 'mixwright imports formats' lists them.")],
    wanted: ImportOptions,
    connection: ConnectionOptions,
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE...|FOLDER]", help="What it reads; none for a tracker.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take finished runs of a table, of results or of a tracker; importing them again changes nothing."""
    from app.online import lookups, output, study_tables
    from app.online.bodies import body_of, scalars
    from app.online.import_files import expanded
    from app.option_texts import pairs
    from app.schemas.imports import ImportSettings

    fields = {
        "format": format_name,
        "options": scalars(pairs("--option", wanted.option)),
        "dry_run": wanted.dry_run,
        "update": wanted.update,
        "strict": wanted.strict,
        "id_prefix": wanted.id_prefix,
        "model_params": wanted.model_params,
        "train_tokens": wanted.train_tokens,
        "rename_domains": pairs("--rename-domain", wanted.rename_domain),
        "rename_targets": pairs("--rename-target", wanted.rename_target),
    }
    settings, paths = body_of(ImportSettings, fields, "the import"), expanded(files or [])
    with connected(connection) as client:
        report = client.import_runs(lookups.find_study(client, study).id, settings, paths)
    output.give(report, as_json, study_tables.show_import)


def _excluded(client: Client, run_id: UUID, exclude_from_fit: bool) -> RunRead:
    from app.schemas.runs import RunUpdate

    return client.change_run(run_id, RunUpdate(exclude_from_fit=exclude_from_fit))


def _each(
    runs: list[str], connection: ConnectionOptions, as_json: bool, change: Callable[[Client], Callable[[UUID], RunRead]]
) -> None:
    """Change every run, after all of them were found."""
    from app import terminal
    from app.online import lookups, output, run_tables

    with connected(connection) as client:
        found = [lookups.find_run(client, run) for run in runs]
        changed = [change(client)(run.id) for run in found]
    if as_json:
        typer.echo(output.document(output.Listing(items=changed, more=False)))
        return
    for run in changed:
        run_tables.show_run(terminal.report_console(), run)
