"""RegMix's pair of files: ``index, train_the_pile_arxiv, ...`` and ``index, metric/the_pile_arxiv_val_loss, ...``.

The files are told apart by their columns. Domains and targets get short names: ``train_``, ``metric/``, ``_val_loss``
and, where every name has it, ``the_pile_`` are taken off. Indices start at 0 or 1, and each size counts anew: give an
``id_prefix`` when several pairs go into one study.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from app.formats.csv_rows import CsvRows
from app.formats.errors import FormatError
from app.formats.imports.base import (
    FoundDomain,
    FoundTarget,
    ImportFormat,
    Options,
    Reading,
    Source,
    source_name,
)
from app.formats.imports.joined_tables import Table, join
from app.formats.remarks import note

_TRAIN, _METRIC, _LOSS = "train_", "metric/", "_val_loss"
_COMMON = "the_pile_"


class RegMixCsv(ImportFormat[Options]):
    """A mixture file and a loss file, joined by ``index``."""

    name = "regmix-csv"
    title = "RegMix: a CSV of mixtures (train_*) and one of losses (metric/*_val_loss), joined by index"

    def read(self, source: Source, options: Options) -> Reading:
        del options
        tables = [CsvRows(name, path) for name, path in source.files.items()]
        mixtures = _the_one(tables, lambda column: column.startswith(_TRAIN), f"{_TRAIN}<domain>")
        losses = _the_one(
            tables, lambda column: column.startswith(_METRIC) and column.endswith(_LOSS), f"{_METRIC}<target>{_LOSS}"
        )
        domains = _short(mixtures, _TRAIN, "")
        targets = _short(losses, _METRIC, _LOSS)
        return Reading(
            source_name(list(source.files)),
            tuple(FoundDomain(name) for name in domains.values()),
            tuple(FoundTarget(name, "nats_per_token", "minimize") for name in targets.values()),
            join(Table(mixtures, _index(mixtures), domains), Table(losses, _index(losses), targets)),
            note("RegMix's losses are taken as nats per token, to be minimised; token counts and priors are not told"),
        )


def _the_one(tables: Sequence[CsvRows], wanted: Callable[[str], bool], form: str) -> CsvRows:
    found = [table for table in tables if any(wanted(column) for column in table.header)]
    if len(found) != 1:
        names = ", ".join(table.name for table in found or tables)
        raise FormatError(
            f"{len(found) or 'none'} of the files ({names}) have columns of the form '{form}'; one file must"
        )
    return found[0]


def _index(rows: CsvRows) -> str:
    """``index``, or the column without a name where pandas wrote it so."""
    return "" if "index" not in rows.header and "" in rows.header else "index"


def _short(rows: CsvRows, prefix: str, suffix: str) -> Mapping[str, str]:
    named = {
        column: column.removeprefix(prefix).removesuffix(suffix)
        for column in rows.header
        if column.startswith(prefix) and column.endswith(suffix)
    }
    if all(name.startswith(_COMMON) for name in named.values()):
        named = {column: name.removeprefix(_COMMON) for column, name in named.items()}
    return named
