"""``mixwright recommend STUDY``: the service fits, where nothing is fitted yet, and recommends."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import typer

from app import terminal
from app.calls.errors import ClientError
from app.client import Client
from app.command_options import ReadingOptions
from app.online import output
from app.online.bodies import body_of, read_json
from app.online.exporting import show_export
from app.online.lookups import find_fit, find_study
from app.online.recommendation_report import show_recommendation
from app.online.waiting import finished_fit, finished_recommendation
from app.online.wish_bodies import constraints_of, objective_of
from app.recommend_options import ServiceOptions, ShowOptions, Wish
from app.schemas.fits import FitRead
from app.schemas.jobs import JobState
from app.schemas.mixture_choice import MixtureChoice
from app.schemas.recommendations import RecommendationCreate, RecommendationRead
from app.schemas.studies import StudyRead
from app.trainer_files import FilesWish, read_files_wish, write_files

# What --law says for the choice of the fit itself.
_AUTO = "auto"


@dataclass(frozen=True)
class Asked:
    """Everything that the command was asked for."""

    study: str
    wish: Wish
    show: ShowOptions
    service: ServiceOptions
    law: str
    seed: int
    model_params: float | None
    train_tokens: float | None


def check_asked(asked: Asked, reading: ReadingOptions) -> None:
    """Refuse what only a folder can be asked for.

    Raises:
        ClientError: naming the option.
    """
    only_folders = (
        ("--plot", asked.show.plot),
        ("--entropies", asked.wish.run.entropies),
        ("--tolerance", reading.tolerance),
        ("--fidelity", reading.fidelity),
    )
    for label, given in only_folders:
        if given is not None:
            raise ClientError(f"{label} is for swarm folders, and there is no folder {asked.study}")


def recommend_online(client: Client, asked: Asked, as_json: bool) -> None:
    """Ask, wait, show, and export when that was asked for."""
    export = read_files_wish(asked.show.export, asked.show.export_option)
    study = find_study(client, asked.study)
    body_parts = {"constraints": constraints_of(study, asked.wish), "objective": objective_of(study, asked.wish)}
    fit = _fit(client, study, asked.service, quiet=as_json)
    fields = {
        "fit_id": fit.id,
        "law": None if asked.law == _AUTO else asked.law,
        "model_params": _whole("--model-params", asked.model_params),
        "train_tokens": _whole("--train-tokens", asked.train_tokens),
        "pareto": asked.wish.pareto,
        "seed": asked.seed,
        "stages": None if asked.service.stages is None else read_json(asked.service.stages),
    }
    told = {name: value for name, value in (fields | body_parts).items() if value is not None}
    body = body_of(RecommendationCreate, told, "the recommendation")
    made = client.create_recommendation(study.id, body)
    show = partial(show_recommendation, study.targets)
    if asked.service.no_wait:
        output.give(made, as_json, show)
        return
    made = finished_recommendation(client, made.id, quiet=as_json)
    output.give(made, as_json, show)
    if export is not None:
        _write(client, made, export, as_json)
    if not as_json:
        terminal.say(terminal.report_console(), f"To act on it: mixwright study adopt {made.id}")
        if made.details is not None and made.details.offered.mixture == MixtureChoice.BEST_MEASURED:
            terminal.say(
                terminal.report_console(),
                "That adopts the best measured mixture; with --mixture recommended the recommended one.",
            )


def _fit(client: Client, study: StudyRead, service: ServiceOptions, quiet: bool) -> FitRead:
    """The fit that was named, else the newest that succeeded, else a new one."""
    if service.fit is not None:
        if service.refit:
            raise ClientError("--refit makes a new fit; do not name one with --fit")
        return find_fit(client, service.fit)
    newest = client.list_fits(study.id, limit=1, state=JobState.SUCCEEDED).items
    if newest and not service.refit:
        return newest[0]
    made = client.create_fit(study.id)
    if service.no_wait:
        raise ClientError(f"there was nothing fitted: fit {made.id} has begun; ask again when it is done")
    if not quiet:
        typer.echo(f"Nothing is fitted yet: fitting every law to the runs of {study.name}, fit {made.id}.", err=True)
    return finished_fit(client, made.id, quiet)


def _write(client: Client, made: RecommendationRead, wish: FilesWish, as_json: bool) -> None:
    export = client.export(made.id, wish.format_name, wish.options)
    paths = write_files(wish.folder, [(file.name, file.text) for file in export.files])
    if not as_json:
        show_export(terminal.report_console(), export, paths)


def _whole(label: str, value: float | None) -> int | None:
    if value is not None and not 1 <= value <= 1e18:
        raise ClientError(f"{label} is {value:g}; it must be a positive count")
    return None if value is None else int(value)
