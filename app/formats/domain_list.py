"""``domains.csv``: ``domain``; optional ``prior``, ``available_tokens``, ``min_weight``, ``max_weight`` and ``group``;
for exports to trainers ``path`` (several are separated by ``|``) and ``mean_document_tokens``.

The order of its rows is the order of the domain set. Without the file, or without priors and token counts, the natural
mixture is unknown: a uniform one stands in for it, and the report says so. A domain belongs to one group or to none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from app.formats.csv_table import CsvTable, read_table
from app.formats.remarks import Remarks, note
from app.formats.weight_columns import DEFAULT_TOLERANCE, PREFIX
from mixers.types import Domains


@dataclass(frozen=True)
class DomainList:
    """The domain set, and what the team demands of its weights.

    Args:
        min_weights, max_weights: bounds of the domains that have one. groups: the domains of each named group.
        paths: where a trainer finds the domains that have one. mean_document_tokens: of the domains that have one.
        remarks: what was assumed.
    """

    domains: Domains
    min_weights: dict[str, float] = field(default_factory=dict)
    max_weights: dict[str, float] = field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    paths: dict[str, tuple[str, ...]] = field(default_factory=dict)
    mean_document_tokens: dict[str, float] = field(default_factory=dict)
    remarks: Remarks = field(default_factory=Remarks)


def read_domains(path: Path, used: list[str]) -> DomainList:
    """The list of ``path``; the domains of the runs alone where there is no such file.

    Args:
        used: the domains that the runs have weights for; the list must name just these.

    Raises:
        FormatError: naming line and column.
    """
    if not path.exists():
        told = note("there is no domains.csv: token counts and the natural mixture are unknown (uniform is used)")
        return DomainList(Domains(tuple(used)), remarks=told)
    table = read_table(path)
    names = table.names("domain", "domain")
    table.check_listed(names, used, "domain", f"'{PREFIX}<domain>'")
    tokens = table.amounts("available_tokens", np.inf, "; write a token count, or nothing when it is not known")
    prior, remarks = _prior(table, tokens)
    least, most = (_bounds(table, names, column) for column in ("min_weight", "max_weight"))
    return DomainList(
        Domains(tuple(names), prior, tokens),
        least,
        most,
        _groups(table, names),
        _paths(table, names),
        _lengths(table, names),
        remarks,
    )


def _bounds(table: CsvTable, names: list[str], column: str) -> dict[str, float]:
    hint = "; write a weight from 0 to 1, or nothing for no bound"
    bounds = table.amounts(column, np.nan, hint)
    if (bounds > 1).any():
        row = int(np.argmax(bounds > 1))
        table.fail(f"{bounds[row]:g} is above 1{hint}", row, column)
    return {name: float(bound) for name, bound in zip(names, bounds, strict=True) if not np.isnan(bound)}


def _groups(table: CsvTable, names: list[str]) -> dict[str, tuple[str, ...]]:
    if "group" not in table:
        return {}
    cells = table.texts("group")
    return {
        group: tuple(name for name, cell in zip(names, cells, strict=True) if cell == group)
        for group in dict.fromkeys(cells)
        if group
    }


def _paths(table: CsvTable, names: list[str]) -> dict[str, tuple[str, ...]]:
    if "path" not in table:
        return {}
    found = {
        name: tuple(path.strip() for path in cell.split("|") if path.strip())
        for name, cell in zip(names, table.texts("path"), strict=True)
    }
    return {name: paths for name, paths in found.items() if paths}


def _lengths(table: CsvTable, names: list[str]) -> dict[str, float]:
    hint = "; write the mean number of tokens of a document, or nothing when it is not known"
    lengths = table.amounts("mean_document_tokens", np.nan, hint)
    if (lengths == 0).any():
        table.fail(f"0 is no length{hint}", int(np.argmax(lengths == 0)), "mean_document_tokens")
    return {name: float(length) for name, length in zip(names, lengths, strict=True) if not np.isnan(length)}


def _prior(table: CsvTable, tokens: Float[np.ndarray, " k"]) -> tuple[Float[np.ndarray, " k"], Remarks]:
    """The natural mixture: the ``prior`` column, else the token counts, else uniform."""
    name = table.path.name
    if "prior" in table and any(table.texts("prior")):
        prior = table.amounts("prior", None, "; write the natural share of the domain, or leave the whole column out")
        total = float(prior.sum())
        if total <= 0:
            table.fail("all are 0; at least one must be positive", column="prior")
        if abs(total - 1) <= DEFAULT_TOLERANCE.rounding:
            return prior, Remarks()
        return prior, note(f"{name}: the priors sum to {total:.6g} and were normalised")
    if np.isfinite(tokens).all() and tokens.sum() > 0:
        return tokens, note(f"{name} has no prior: the natural mixture follows from available_tokens")
    return np.ones(len(table)), note(f"{name} has no prior: the natural mixture is unknown (uniform is used)")
