"""``domains.csv``: ``domain``; optional ``prior``, ``available_tokens`` and ``max_weight``.

The order of its rows is the order of the domain set. Without the file, or without priors and token counts, the natural
mixture is unknown: a uniform one stands in for it, and the report says so.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float

from app.formats.csv_table import CsvTable, read_table
from app.formats.remarks import Remarks, note
from app.formats.weight_columns import DEFAULT_TOLERANCE, PREFIX
from mixers.types import Domains


def read_domains(path: Path, used: list[str]) -> tuple[Domains, dict[str, float], Remarks]:
    """The domain set, its upper bounds, and what was assumed.

    Args:
        used: the domains that the runs have weights for; the list must name just these.

    Raises:
        FormatError: naming line and column.
    """
    if not path.exists():
        told = note("there is no domains.csv: token counts and the natural mixture are unknown (uniform is used)")
        return Domains(tuple(used)), {}, told
    table = read_table(path)
    names = table.names("domain", "domain")
    table.check_listed(names, used, "domain", f"'{PREFIX}<domain>'")
    tokens = table.amounts("available_tokens", np.inf, "; write a token count, or nothing when it is not known")
    prior, remarks = _prior(table, tokens)
    caps = table.amounts("max_weight", np.nan, "; write a weight from 0 to 1, or nothing for no bound")
    if (caps > 1).any():
        row = int(np.argmax(caps > 1))
        table.fail(f"{caps[row]:g} is above 1; write a weight from 0 to 1, or nothing for no bound", row, "max_weight")
    bounds = {name: float(cap) for name, cap in zip(names, caps, strict=True) if not np.isnan(cap)}
    return Domains(tuple(names), prior, tokens), bounds, remarks


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
