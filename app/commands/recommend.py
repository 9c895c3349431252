"""``mixwright recommend``: the best weights by the runs of a swarm folder and the team's wishes, without a server."""

from __future__ import annotations

import typer

from app.command_options import AsJson, Folder, LawName, ReadingOptions, ScaleOptions, with_records
from app.recommend_options import ConstraintOptions, ObjectiveOptions, RunOptions, ShowOptions, Wish


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(with_records(recommend))


def recommend(
    folder: Folder,
    run: RunOptions,
    constraints: ConstraintOptions,
    objective: ObjectiveOptions,
    show: ShowOptions,
    at: ScaleOptions,
    reading: ReadingOptions,
    law: LawName = "auto",
    as_json: AsJson = False,
) -> None:
    """Recommend weights from the runs of a folder."""
    from app import offline, offline_exports, offline_wishes, terminal
    from app.formats.swarm_folder import read_swarm
    from app.formats.weight_columns import SumTolerance
    from app.offline_documents import to_json
    from app.recommendation_document import recommendation_document
    from app.recommendation_report import show_recommendation

    wish = Wish(run, constraints, objective, show.pareto)
    offline.check_law(law)
    if show.plot is not None:
        from app.recommendation_plot import check_plot  # here: its library is slow to load

        check_plot(show.plot)
    export = offline_exports.read_wish(show.export, show.export_option)
    tolerance = SumTolerance.widened(reading.tolerance)
    swarm = read_swarm(folder, tolerance)
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
