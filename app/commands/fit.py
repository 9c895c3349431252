"""``mixwright fit`` and ``mixwright fits``: laws fitted by the service to the runs of a study."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from app.command_options import AsJson, with_records
from app.connection import ONLINE, ConnectionOptions, Limit, StudyName, connected
from app.schemas.run_fidelity import RunFidelity
from app.schemas.run_points import RunPoints

_Fit = Annotated[str, typer.Argument(metavar="FIT", help="Id of the fit, or a part of it.")]


@dataclass(frozen=True)
class RunChoice:
    """The runs that enter a fit; all of them where nothing is given."""

    model_params: Annotated[list[int] | None, typer.Option(help="Only runs of this size; repeatable.")] = None
    train_tokens: Annotated[list[int] | None, typer.Option(help="Only runs of this length; repeatable.")] = None
    purpose: Annotated[list[str] | None, typer.Option(help="Only runs of this purpose; repeatable.")] = None

    fidelity: Annotated[RunFidelity | None, typer.Option(help="Only runs of this fidelity [default: trained].")] = None
    staged: Annotated[
        bool, typer.Option("--staged", help="Also runs of several stages, each as the mean of its stages.")
    ] = False
    points: Annotated[
        RunPoints | None,
        typer.Option(
            help="Of each run its end, or all points that it measured, each at its own tokens [default: end]."
        ),
    ] = None

    def given(self) -> dict[str, object]:
        """The fields of the filter that were given."""
        fields = {"model_params": self.model_params, "train_tokens": self.train_tokens, "purposes": self.purpose}
        fields |= {"fidelity": self.fidelity, "staged": self.staged, "points": self.points}
        return {name: value for name, value in fields.items() if value}


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(rich_help_panel=ONLINE)(with_records(fit))
    group = typer.Typer(help="Fits of a study: list, show, compare, cancel, predict.", no_args_is_help=True)
    for name, command in (
        ("list", list_fits),
        ("show", show),
        ("compare", compare_laws),
        ("cancel", cancel),
        ("predict", predict_online),
    ):
        group.command(name)(with_records(command))
    app.add_typer(group, name="fits", rich_help_panel=ONLINE)


def fit(
    study: StudyName,
    runs: RunChoice,
    connection: ConnectionOptions,
    laws: Annotated[str | None, typer.Option(help="Comma-separated names (default: every law).")] = None,
    folds: Annotated[int, typer.Option(min=2, max=50, help="Folds of the cross-validation.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the folds and the fits.")] = 0,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the fit and show how the laws did.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fit laws to the measured runs of a study and compare them on runs that they have not seen."""
    from app.online import fit_report, lookups, output, waiting
    from app.online.bodies import body_of
    from app.schemas.fits import FitCreate

    names = None if laws is None else [name.strip() for name in laws.split(",")]
    fields = {"laws": names, "folds": folds, "seed": seed, "runs": runs.given() or None}
    body = body_of(FitCreate, fields, "the fit")
    with connected(connection) as client:
        of = lookups.find_study(client, study)
        made = client.create_fit(of.id, body)
        if wait:
            made = waiting.finished_fit(client, made.id, quiet=as_json)
    output.give(made, as_json, partial(fit_report.show_fit, of.targets))


def list_fits(study: StudyName, connection: ConnectionOptions, limit: Limit = 100, as_json: AsJson = False) -> None:
    """List the fits of a study, newest first."""
    from app.online import fit_report, lookups, output

    with connected(connection) as client:
        found = output.first(client.all_fits(lookups.find_study(client, study).id), limit)
    nothing = "Nothing is fitted yet; 'mixwright fit STUDY' does it."
    output.give_list(found, as_json, fit_report.FIT_COLUMNS, fit_report.fit_row, nothing)


def show(
    fit_id: _Fit,
    connection: ConnectionOptions,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a fit: how each law did on unseen runs, and which one was chosen."""
    from app.online import fit_report, lookups, output, waiting

    with connected(connection) as client:
        found = lookups.find_fit(client, fit_id)
        if wait:
            found = waiting.finished_fit(client, found.id, quiet=as_json)
        targets = lookups.targets_of(client, found)
    output.give(found, as_json, partial(fit_report.show_fit, targets))


def compare_laws(fit_id: _Fit, connection: ConnectionOptions, as_json: AsJson = False) -> None:
    """Compare the laws of a fit: what choosing each costs, and the best of each target."""
    from app.online import fit_report, lookups, output

    with connected(connection) as client:
        found = lookups.find_fit(client, fit_id)
        compared, targets = client.compare_laws(found.id), lookups.targets_of(client, found)
    output.give(compared, as_json, partial(fit_report.show_comparison, targets))


def cancel(fit_id: _Fit, connection: ConnectionOptions, as_json: AsJson = False) -> None:
    """Take back a fit that is not finished."""
    from app.online import lookups, output
    from app.terminal import say

    with connected(connection) as client:
        cancelled = client.cancel_fit(lookups.find_fit(client, fit_id).id)
    output.give(cancelled, as_json, lambda console, _: say(console, f"Fit {cancelled.id} is {cancelled.state}."))


def predict_online(
    fit_id: _Fit,
    at: Annotated[Path, typer.Option(metavar="QUERIES.csv", help="Mixtures: columns run_id and w:<domain>.")],
    connection: ConnectionOptions,
    law: Annotated[str | None, typer.Option(help="A law of the fit [default: the chosen one].")] = None,
    model_params: Annotated[int | None, typer.Option(help="Predict at this size.")] = None,
    train_tokens: Annotated[int | None, typer.Option(help="Predict at this length.")] = None,
    as_json: AsJson = False,
) -> None:
    """Predict mixtures by a fit, and say how far each is from what was measured."""
    from app.formats.queries import read_queries
    from app.online import fit_report, lookups, output
    from app.online.bodies import body_of
    from app.schemas.fits import PredictionCreate

    with connected(connection) as client:
        found = lookups.find_fit(client, fit_id)
        names = [domain.name for domain in client.get_domain_set(found.domain_set_id).domains]
        weights = [dict(zip(names, row, strict=True)) for row in read_queries(at, names).p.tolist()]
        scale = {"model_params": model_params, "train_tokens": train_tokens}
        body = body_of(PredictionCreate, {"weights": weights, "law": law} | scale, str(at))
        predicted, targets = client.predict(found.id, body), lookups.targets_of(client, found)
    output.give(predicted, as_json, partial(fit_report.show_predictions, targets))
