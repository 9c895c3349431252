"""Olmix's pair of files: ``ratios.csv`` and ``metrics.csv``, joined by ``run`` or ``run_id``.

Columns about the run itself (``name``, ``index``, ``Unnamed: 0``) are no domains and no metrics.
"""

from __future__ import annotations

from app.formats.csv_rows import CsvRows
from app.formats.errors import FormatError
from app.formats.imports.base import FoundDomain, ImportFormat, Options, Reading, Source, source_name
from app.formats.imports.files import only
from app.formats.imports.joined_tables import Table, join
from app.formats.imports.target_words import RULE_IN_WORDS, guess_target
from app.formats.remarks import note

_IDS = ("run", "run_id")
_ABOUT_THE_RUN = frozenset({*_IDS, "name", "index", ""})


class OlmixCsv(ImportFormat[Options]):
    """``ratios.csv`` and ``metrics.csv``."""

    name = "olmix-csv"
    title = "Olmix: ratios.csv and metrics.csv, joined by run or run_id"

    def read(self, source: Source, options: Options) -> Reading:
        del options
        ratios, metrics = (_table(source, name) for name in ("ratios.csv", "metrics.csv"))
        return Reading(
            source_name(list(source.files)),
            tuple(FoundDomain(name) for name in ratios.columns.values()),
            tuple(guess_target(name) for name in metrics.columns.values()),
            join(ratios, metrics),
            note(RULE_IN_WORDS),
        )


def _table(source: Source, name: str) -> Table:
    found = only(source.files, name)
    if found is None:
        raise FormatError(f"there is no {name}; the files are {source_name(list(source.files))}")
    rows = CsvRows(*found)
    ids = [column for column in _IDS if column in rows.header]
    if not ids:
        rows.fail(f"there is no column 'run' or 'run_id'; the columns begin with {', '.join(rows.header[:5])}")
    columns = {name: name for name in rows.header if name not in _ABOUT_THE_RUN and not name.startswith("Unnamed")}
    if not columns:
        rows.fail("there is no column beside those that name the run")
    return Table(rows, ids[0], columns, "name" if "name" in rows.header else None)
