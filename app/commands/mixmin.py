"""``mixwright mixmin``: weights from one small model a domain, before any run on a mixture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.command_options import AsJson, with_records

if TYPE_CHECKING:
    from rich.console import Console

    from app.formats.remarks import Remarks
    from mixers.mixmin import DomainModels
    from mixers.simplex import FeasibleSet
    from mixers.types import Domains, Solution

_CHEAP = (
    "A cheap fidelity: these losses are those of mixed predictions of models of single domains; no run on a mixture "
    "stands behind them. Verify the weights by training."
)


@dataclass(frozen=True)
class Limits:
    """What the weights must keep to."""

    domains: Annotated[
        Path | None,
        typer.Option(metavar="DOMAINS.csv", help="Prior, available tokens and bounds, as in a swarm folder."),
    ] = None
    target_tokens: Annotated[float | None, typer.Option(help="Tokens of the planned run; for --max-epochs.")] = None
    max_epochs: Annotated[float | None, typer.Option(help="The most passes over a domain's available tokens.")] = None
    max_epochs_each: Annotated[
        list[str] | None,
        typer.Option(metavar="DOMAIN=EPOCHS", help="The same for one domain, instead of --max-epochs; repeatable."),
    ] = None
    min_weight: Annotated[
        list[str] | None, typer.Option("--min", metavar="DOMAIN=SHARE", help="The least weight of a domain.")
    ] = None
    max_weight: Annotated[
        list[str] | None, typer.Option("--max", metavar="DOMAIN=SHARE", help="The largest weight of a domain.")
    ] = None


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(with_records(mixmin))


def mixmin(
    file: Annotated[Path, typer.Argument(metavar="LOGPROBS.npz", help="Made by 'mixwright experts log-probs'.")],
    limits: Limits,
    worst: Annotated[
        bool, typer.Option("--worst", help="Minimise the largest loss of a target, not the mean.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find the weights whose mixed predictions fit the targets best (MixMin), a cheap prior for a swarm."""
    import json

    import numpy as np

    from app import terminal
    from app.formats.log_probabilities import read_log_probabilities
    from mixers.mixmin import mixmin as solve

    models, known = read_log_probabilities(file)
    feasible, remarks = _feasible(known, limits)
    best = solve(models, feasible, np.random.default_rng(0), worst)
    document = _document(models, feasible, best, worst) | {"notes": remarks.notes, "warnings": remarks.warnings}
    if as_json:
        typer.echo(json.dumps(document, indent=2, allow_nan=False))
    else:
        _show(terminal.report_console(), document, best, remarks)


def _feasible(known: Domains, limits: Limits) -> tuple[FeasibleSet, Remarks]:
    """The mixtures that are allowed, over the domains of the models in their order, and what there is to tell."""
    from app.demands import Demands, feasible_set
    from app.formats.domain_list import DomainList, read_domains
    from app.formats.errors import FormatError
    from app.offline_wishes import check_run
    from app.option_texts import epoch_limits, shares
    from app.recommend_options import RunOptions

    listed = DomainList(known)
    if limits.domains is not None:
        listed = read_domains(limits.domains, list(known.names))
        if listed.domains.names != known.names:
            raise FormatError(f"{limits.domains} must list the domains in the order of the models: {known.names}")
    run = RunOptions(limits.target_tokens, limits.max_epochs, limits.max_epochs_each)
    remarks = check_run(listed.domains, run)
    feasible = feasible_set(
        listed.domains,
        Demands(
            target_tokens=limits.target_tokens,
            max_epochs=limits.max_epochs,
            max_epochs_each=epoch_limits(limits.max_epochs_each, known.names),
            min_weights=listed.min_weights | shares("--min", limits.min_weight, known.names, "domain"),
            max_weights=listed.max_weights | shares("--max", limits.max_weight, known.names, "domain"),
        ),
    )
    return feasible, listed.remarks + remarks


def _document(models: DomainModels, feasible: FeasibleSet, best: Solution, worst: bool) -> dict[str, Any]:
    import numpy as np

    from mixers.priors import uniform
    from mixers.types import Scale

    domains = feasible.domains
    mixtures = {"mixmin": best.weights, "natural": domains.prior, "uniform": uniform(domains)}
    predicted = models.predict(np.array(list(mixtures.values())), Scale.unknown())
    return {
        "fidelity": "mixmin",
        "minimised": "the largest loss" if worst else "the mean loss",
        "status": best.status.value,
        "gap": best.residual,
        "weights": dict(zip(domains.names, best.weights.tolist(), strict=True)),
        "prior": dict(zip(domains.names, domains.prior.tolist(), strict=True)),
        "sequences": len(models.tokens),
        "nats_per_token": {
            target: {
                name: {"value": float(predicted.mean[i, j]), "stderr": float(predicted.std[i, j])}
                for i, name in enumerate(mixtures)
            }
            for j, target in enumerate(models.target_names)
        },
    }


def _show(console: Console, document: dict[str, Any], best: Solution, remarks: Remarks) -> None:
    from rich.table import Table

    from app.report_parts import show_remarks
    from app.terminal import say

    show_remarks(console, remarks)
    weights = Table("domain", title="Weights", title_justify="left")
    for heading in ("prior", "mixmin"):
        weights.add_column(heading, justify="right")
    for name, weight in document["weights"].items():
        weights.add_row(name, f"{document['prior'][name]:.4f}", f"{weight:.4f}")
    losses = Table("target", title="Loss of the mixed predictions (nats per token)", title_justify="left")
    for heading in ("mixmin", "natural", "uniform"):
        losses.add_column(heading, justify="right")
    for target, of in document["nats_per_token"].items():
        losses.add_row(target, *(f"{one['value']:.4f} ± {one['stderr']:.4f}" for one in of.values()))
    console.print(weights)
    console.print(losses)
    say(console, f"Solver: {best.message}")
    say(console, _CHEAP)
