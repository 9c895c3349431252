"""CSV: a row a stage and domain, below ``#`` lines with the provenance.

Fields are quoted as RFC 4180 says, and all text is: readers that take ``#`` for a comment look for it in plain fields.
Names are kept as they are: an export that changed ``=name`` to please a spreadsheet would name another domain.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import ClassVar

from app.formats.exports.base import Export, ExportedFile, ExportFormat, Option, Plan
from app.formats.exports.header import commented, header_lines, quoted
from app.formats.exports.notes import notes_of
from app.formats.exports.plain_json import PLAIN_HABITS
from app.formats.exports.repetition import MAX_EPOCHS, above_cap
from app.formats.exports.shares import token_shares

COLUMNS = ("stage", "from_token", "to_token", "domain", "weight", "tokens", "epochs")
_FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")


class PlainCsvExport(ExportFormat):
    """One file with the whole plan."""

    name: ClassVar[str] = "csv"
    title: ClassVar[str] = "CSV: stage, from_token, to_token, domain, weight, tokens, epochs"
    trainer: ClassVar[str] = ""
    options: ClassVar[Mapping[str, Option]] = {"max_epochs": MAX_EPOCHS}

    def render(self, plan: Plan) -> Export:
        notes = notes_of(plan, PLAIN_HABITS, _columns(), *_formulas(plan), *above_cap(plan))
        available = {domain.name: domain.available_tokens for domain in plan.domains}
        out = io.StringIO(newline="")
        writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        writer.writerow(COLUMNS)
        for number, stage in enumerate(plan.stages, start=1):
            for name, weight in token_shares(stage).items():
                tokens, have = weight * stage.tokens, available[name]
                epochs = "" if have is None else tokens / have
                writer.writerow((number, stage.from_token, stage.to_token, name, weight, tokens, epochs))
        # An empty line would be a row without fields to some readers.
        header = commented(header_lines(plan, notes)).rstrip("\n") + "\n"
        return Export((ExportedFile("mixture.csv", header + out.getvalue()),), notes)


def _columns() -> str:
    return (
        "Columns: tokens is weight * (to_token - from_token), and epochs is tokens / available tokens, both of the one "
        "stage; epochs is empty where the available tokens are unknown. The epochs of a domain are the sum of its rows."
    )


def _formulas(plan: Plan) -> tuple[str, ...]:
    risky = [quoted(domain.name) for domain in plan.domains if domain.name.startswith(_FORMULA_SIGNS)]
    if not risky:
        return ()
    return (
        f"Domain names are written exactly as they are, also those that a spreadsheet takes for a formula: "
        f"{', '.join(risky)}. Import the file as text, not by a double click.",
    )
