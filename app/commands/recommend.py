"""``mixwright recommend``: the best weights by the runs of a swarm folder or a study, and the team's wishes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from app.command_options import AsJson, LawName, ReadingOptions, ScaleOptions, with_records
from app.connection import ConnectionOptions, connected
from app.recommend_options import ConstraintOptions, ObjectiveOptions, RunOptions, ServiceOptions, ShowOptions, Wish


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(with_records(recommend))


def recommend(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER|STUDY",
            help="A folder that holds runs.csv, domains.csv and targets.csv, or a study of the service.",
        ),
    ],
    run: RunOptions,
    constraints: ConstraintOptions,
    objective: ObjectiveOptions,
    show: ShowOptions,
    at: ScaleOptions,
    reading: ReadingOptions,
    service: ServiceOptions,
    connection: ConnectionOptions,
    law: LawName = "auto",
    as_json: AsJson = False,
) -> None:
    """Recommend weights from the runs of a folder, without a server, or from those of a study."""
    wish = Wish(run, constraints, objective, show.pareto)
    if is_folder(source):
        _check_offline(service, connection)
        _recommend_offline(Path(source), wish, show, at, reading, law, as_json)
        return
    from app.online.recommending import Asked, check_asked, recommend_online

    asked = Asked(source, wish, show, service, law, reading.seed, at.model_params, at.train_tokens)
    check_asked(asked, reading)
    with connected(connection) as client:
        recommend_online(client, asked, as_json)


def is_folder(source: str) -> bool:
    """Whether a folder is meant: one that is there, or a path that cannot be the name of a study."""
    return Path(source).exists() or os.sep in source or source in (".", "..")


def _check_offline(service: ServiceOptions, connection: ConnectionOptions) -> None:
    from app.formats.errors import FormatError

    online = (
        ("--fit", service.fit),
        ("--refit", service.refit),
        ("--no-wait", service.no_wait),
        ("--stages", service.stages),
        ("--url", connection.url),
        ("--key-file", connection.key_file),
    )
    for label, given in online:
        if given:
            raise FormatError(f"{label} is for studies of the service; a folder is worked on here")


def _recommend_offline(
    folder: Path,
    wish: Wish,
    show: ShowOptions,
    at: ScaleOptions,
    reading: ReadingOptions,
    law: str,
    as_json: bool,
) -> None:
    from app import offline, offline_exports, offline_wishes, terminal
    from app.formats.swarm_folder import read_swarm
    from app.formats.weight_columns import SumTolerance
    from app.offline_documents import to_json
    from app.recommendation_document import recommendation_document
    from app.recommendation_report import show_recommendation

    offline.check_law(law)
    if show.plot is not None:
        from app.recommendation_plot import check_plot  # here: its library is slow to load

        check_plot(show.plot)
    export = offline_exports.read_wish(show.export, show.export_option)
    tolerance = SumTolerance.widened(reading.tolerance)
    swarm = read_swarm(folder, tolerance, reading.run_fidelity)
    if export is not None:
        offline_exports.check_paths(export, swarm)
    scale = offline.scale_for(swarm.runs, at.model_params, at.train_tokens)
    question = offline_wishes.pose(swarm, wish, scale, tolerance)
    with terminal.progress("Recommending", quiet=as_json) as on_progress:
        trusted = offline.trusted_law(swarm, law, reading.seed, on_progress)
        made = offline.recommend_weights(trusted, question, reading.seed)
    if show.plot is not None:
        from app.recommendation_plot import write_plot

        write_plot(show.plot, swarm, trusted, question, made.best)
    written = (
        None if export is None else offline_exports.write_export(export, swarm, trusted, question.problem, made.best)
    )
    if as_json:
        typer.echo(to_json(recommendation_document(swarm, trusted, question, made)))
    else:
        show_recommendation(terminal.report_console(), swarm, trusted, question, made)
        if written is not None:
            offline_exports.show_written(terminal.report_console(), written)
