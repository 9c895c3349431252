"""``mixwright recommend --export FORMAT:FOLDER``: the mixture to act on in the format of a trainer, without a server.

Paths of the domains are those of ``domains.csv``. The format, its options and the place are checked before a law is
fitted; files are written when all of them are made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from app.formats.errors import FormatError
from app.formats.exports import EXPORTS
from app.formats.exports.base import Export, ExportDomain, ExportError, ExportFormat, Plan
from app.formats.exports.planning import plan_of, read_options, with_defaults
from app.formats.swarm_folder import Swarm
from app.offline import TrustedLaw
from app.terminal import say
from app.trainer_files import read_files_wish, write_files
from mixers.problem import Problem
from mixers.recommendation import Recommendation


@dataclass(frozen=True)
class ExportWish:
    """A format with the values of all of its options, and the folder for its files."""

    export_format: ExportFormat
    options: dict[str, Any]
    folder: Path


@dataclass(frozen=True)
class Written:
    """The files that were written, and what to know of them."""

    paths: tuple[Path, ...]
    notes: tuple[str, ...]


def read_wish(export: str | None, options: Sequence[str] | None) -> ExportWish | None:
    """What ``--export`` and ``--export-option`` ask for; None when they ask for nothing.

    Raises:
        InvalidInput: a format or an option that is not known, or a value that cannot be.
        OSError: a folder that cannot be written to.
    """
    wish = read_files_wish(export, options, list(EXPORTS))
    if wish is None:
        return None
    export_format = EXPORTS[wish.format_name]
    try:
        values = with_defaults(export_format, read_options(export_format, wish.options))
    except ExportError as exc:
        raise FormatError(f"--export-option: {exc}") from exc
    return ExportWish(export_format, values, wish.folder)


def check_paths(wish: ExportWish, swarm: Swarm) -> None:
    """Refuse a format that needs paths for a swarm that names none, before a law is fitted.

    Raises:
        FormatError: saying where paths belong.
    """
    if wish.export_format.trainer and not swarm.paths:
        raise FormatError(
            f"--export: format {wish.export_format.name!r} needs the path of each domain; "
            "give domains.csv a column 'path' (several paths are separated by '|')"
        )


def write_export(wish: ExportWish, swarm: Swarm, law: TrustedLaw, problem: Problem, made: Recommendation) -> Written:
    """Write the mixture to act on; a file that was there is replaced.

    Raises:
        FormatError: the format cannot hold the mixture, or a domain has no path.
        OSError: a file could not be written.
    """
    try:
        export = _render(wish, swarm, law, problem, made)
    except ExportError as exc:
        raise FormatError(f"--export: {exc}") from exc
    paths = write_files(wish.folder, [(file.name, file.text) for file in export.files])
    return Written(tuple(paths), export.notes)


def show_written(console: Console, written: Written) -> None:
    """The files, and what the person who uses them must know."""
    say(console, f"Wrote {', '.join(str(path) for path in written.paths)}.")
    for note in written.notes:
        say(console, note)


def _render(wish: ExportWish, swarm: Swarm, law: TrustedLaw, problem: Problem, made: Recommendation) -> Export:
    names = swarm.runs.domains.names
    weights = np.clip(made.offered_weights, 0.0, None)
    shares = dict(zip(names, (weights / weights.sum()).tolist(), strict=True))
    plan: Plan = plan_of(
        _domains(swarm),
        [(0, _tokens(problem, int(wish.options["target_tokens"])), shares)],
        _provenance(swarm, law, made),
        wish.options,
    )
    return wish.export_format.render(plan)


def _tokens(problem: Problem, asked: int) -> int:
    """Tokens of the run: as asked for the export, else those of the recommendation, else those predicted at."""
    tokens = float(asked or problem.target_tokens or problem.scale.train_tokens)
    if not math.isfinite(tokens) or tokens < 1:
        raise ExportError("the tokens of the run are not known; give --target-tokens")
    return int(tokens)


def _domains(swarm: Swarm) -> list[ExportDomain]:
    domains = swarm.runs.domains
    return [
        ExportDomain(
            name,
            swarm.paths.get(name, ()),
            int(tokens) if math.isfinite(tokens) and tokens >= 1 else None,
            swarm.mean_document_tokens.get(name),
        )
        for name, tokens in zip(domains.names, domains.available_tokens.tolist(), strict=True)
    ]


def _provenance(swarm: Swarm, law: TrustedLaw, made: Recommendation) -> dict[str, str]:
    return {
        "swarm": swarm.folder.resolve().name,
        "runs used": str(len(law.runs)),
        "law": law.report.law,
        "mixture": made.offered,
        "written by": f"mixwright {version('mixwright')}",
    }
