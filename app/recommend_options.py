"""The options of ``mixwright recommend`` as they are typed: what is demanded, what is aimed at, what is shown.

They are checked against a swarm in ``app/offline_wishes.py``, against a study in ``app/online/wish_bodies.py``; how
texts such as ``DOMAIN=WEIGHT`` are read is in ``app/option_texts.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class RowsOf(StrEnum):
    """What is looked at one by one."""

    TARGETS = "targets"
    FAMILIES = "families"


@dataclass(frozen=True)
class RunOptions:
    """The run that is recommended for, and the mixtures that it starts from."""

    target_tokens: Annotated[float | None, typer.Option(help="Training tokens of the run to recommend for.")] = None
    max_epochs: Annotated[
        float | None, typer.Option(help="How often a domain's tokens may be seen; needs --target-tokens.")
    ] = None
    max_epochs_each: Annotated[
        list[str] | None,
        typer.Option(metavar="DOMAIN=EPOCHS", help="The same for one domain, instead of --max-epochs; repeatable."),
    ] = None
    kl: Annotated[
        float | None,
        typer.Option(help="Weight of the KL divergence to the natural mixture (default: 0.05, or the study's)."),
    ] = None
    current: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.csv|natural|uniform|adopted",
            help="The mixture in use, a baseline named 'current'; a file has the columns domain and weight; "
            "'adopted' is what a study has adopted.",
        ),
    ] = None
    entropies: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="Entropy of each domain's text (columns domain and entropy): adds the baseline 'entropy', "
            "with weights in proportion to it.",
        ),
    ] = None


@dataclass(frozen=True)
class ConstraintOptions:
    """Constraints on the weights; they stand above those of ``domains.csv``."""

    min_weight: Annotated[
        list[str] | None, typer.Option("--min", metavar="DOMAIN=WEIGHT", help="Least weight of a domain; repeatable.")
    ] = None
    max_weight: Annotated[
        list[str] | None, typer.Option("--max", metavar="DOMAIN=WEIGHT", help="Largest weight; repeatable.")
    ] = None
    group_min: Annotated[
        list[str] | None,
        typer.Option(metavar="GROUP=WEIGHT", help="Least weight of a group of domains.csv (column 'group')."),
    ] = None
    group_max: Annotated[
        list[str] | None, typer.Option(metavar="GROUP=WEIGHT", help="Largest weight of a group; repeatable.")
    ] = None
    freeze: Annotated[
        list[str] | None,
        typer.Option(metavar="DOMAIN[=WEIGHT]", help="Fix a weight, at that of --current when none is given."),
    ] = None
    max_change: Annotated[
        float | None, typer.Option(help="How far any weight may move from --current, such as 0.05.")
    ] = None
    max_change_total: Annotated[
        float | None,
        typer.Option(
            help="How far all weights together may move from --current: the sum of the absolute changes, "
            "so 0.2 lets a tenth of the mixture change hands."
        ),
    ] = None


@dataclass(frozen=True)
class ObjectiveOptions:
    """What is minimised, and under which limits on targets."""

    family_weight: Annotated[
        list[str] | None,
        typer.Option(metavar="FAMILY=NUMBER", help="Importance of a family of targets (1 for the others); repeatable."),
    ] = None
    minimise_worst: Annotated[
        bool,
        typer.Option("--minimise-worst", help="Minimise the largest excess over --reference, not the weighted mean."),
    ] = False
    worst_by: Annotated[
        RowsOf | None, typer.Option(help="Excess of single targets, or of families [default: targets].")
    ] = None
    worst_in_spreads: Annotated[
        bool,
        typer.Option("--worst-in-spreads", help="Count each excess in standard deviations over the runs."),
    ] = False
    reference: Annotated[
        str | None, typer.Option(metavar="BASELINE", help="What an excess is counted from [default: natural].")
    ] = None
    not_worse: Annotated[
        float | None,
        typer.Option(help="By how much any target may be predicted worse than --not-worse-than, in its unit."),
    ] = None
    not_worse_each: Annotated[
        list[str] | None,
        typer.Option(metavar="TARGET=NUMBER", help="Another allowance for one target (or family); repeatable."),
    ] = None
    not_worse_than: Annotated[
        str | None,
        typer.Option(metavar="BASELINE", help="natural, uniform, current, best_measured, ... [default: natural]."),
    ] = None
    by_family: Annotated[bool, typer.Option("--by-family", help="Apply --not-worse to families.")] = False
    repetition_price: Annotated[
        float | None,
        typer.Option(
            help="Price of repeated tokens, in units of the objective for a run whose tokens are all wasted: with 0.5 "
            "it is as bad to waste 1 % of the tokens on repeats as to lose 0.005. Needs --target-tokens."
        ),
    ] = None


@dataclass(frozen=True)
class ShowOptions:
    """What is shown and written beside the weights."""

    pareto: Annotated[
        bool, typer.Option("--pareto", help="Also show mixtures along the trade-off between target families.")
    ] = False
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the recommendation, as .png, .svg or .pdf.")
    ] = None
    export: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT:FOLDER",
            help="Write the mixture to act on for a trainer, such as megatron:out, with column 'path' of domains.csv.",
        ),
    ] = None
    export_option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="An option of the --export format; repeatable.")
    ] = None


@dataclass(frozen=True)
class ServiceOptions:
    """What only a study of the service can be asked for."""

    fit: Annotated[
        str | None, typer.Option(metavar="FIT", help="Of a study: recommend by this fit [default: the newest].")
    ] = None
    refit: Annotated[bool, typer.Option("--refit", help="Of a study: fit every law to its runs first.")] = False
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Of a study: leave the work to the service and do not wait for it.")
    ] = False
    stages: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            help="Of a study: judge weights of your own and search none; a list of objects with from_token, to_token "
            "and weights.",
        ),
    ] = None


@dataclass(frozen=True)
class Wish:
    """All that is wished for."""

    run: RunOptions = RunOptions()
    constraints: ConstraintOptions = ConstraintOptions()
    objective: ObjectiveOptions = ObjectiveOptions()
    pareto: bool = False
