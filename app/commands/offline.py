"""``mixwright compare`` and ``predict``: on a swarm folder, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.command_options import AsJson, Folder, LawName, ReadingOptions, ScaleOptions, with_records


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (compare, predict):
        app.command()(with_records(command))


def compare(
    folder: Folder,
    reading: ReadingOptions,
    laws: Annotated[str | None, typer.Option(help="Comma-separated names (default: every law).")] = None,
    time_budget: Annotated[
        float | None, typer.Option(help="Seconds to take at most; laws that do not fit in are left out and named.")
    ] = None,
    curve: Annotated[
        bool, typer.Option("--learning-curve", help="Also show how the chosen law gets better with more runs.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Judge every mixing law on runs that it has not seen."""
    from app import offline, offline_report, terminal
    from app.formats.swarm_folder import read_swarm
    from app.formats.weight_columns import SumTolerance
    from app.offline_documents import comparison_document, to_json

    names = offline.law_names(laws)
    swarm = read_swarm(folder, SumTolerance.widened(reading.tolerance), reading.run_fidelity)
    with terminal.progress("Comparing laws", quiet=as_json) as on_progress:
        comparison = offline.judge(swarm, names, reading.seed, on_progress, time_budget)
    points = offline.how_many_runs(swarm, comparison.choice, reading.seed) if curve else ()
    if as_json:
        typer.echo(to_json(comparison_document(swarm, comparison, reading.seed, points)))
        return
    offline_report.show_comparison(terminal.report_console(), swarm, comparison)
    if curve:
        offline_report.show_learning_curve(terminal.report_console(), comparison.choice, points)


def predict(
    folder: Folder,
    at: Annotated[Path, typer.Option(metavar="QUERIES.csv", help="Mixtures to predict: runs.csv without targets.")],
    out: Annotated[Path, typer.Option(metavar="PREDICTIONS.csv", help="Where the predictions go.")],
    scale: ScaleOptions,
    reading: ReadingOptions,
    law: LawName = "auto",
    as_json: AsJson = False,
) -> None:
    """Predict the targets of given mixtures."""
    from app import offline, offline_report, terminal
    from app.formats.queries import check_destination, read_queries, write_predictions
    from app.formats.swarm_folder import read_swarm
    from app.formats.weight_columns import SumTolerance
    from app.offline_documents import prediction_document, to_json

    tolerance = SumTolerance.widened(reading.tolerance)
    offline.check_law(law)
    check_destination(out, folder, at)
    swarm = read_swarm(folder, tolerance, reading.run_fidelity)
    queries = read_queries(at, swarm.runs.domains.names, tolerance)
    with terminal.progress("Predicting", quiet=as_json) as on_progress:
        trusted = offline.trusted_law(swarm, law, reading.seed, on_progress)
        answers = offline.answer(swarm, trusted, queries, scale.model_params, scale.train_tokens)
    write_predictions(out, swarm, queries.run_ids, answers.predicted)
    if as_json:
        typer.echo(to_json(prediction_document(swarm, trusted, answers, str(out))))
    else:
        offline_report.show_predictions(terminal.report_console(), swarm, trusted, answers, str(out))
