"""The plain formats: JSON to check in, CSV to look at."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pandas
import pytest

from app.formats.exports.plain_csv import COLUMNS, PlainCsvExport
from app.formats.exports.plain_json import PlainJsonExport
from tests.app.formats.exports.sample_plans import PROVENANCE, domain, staged_plan, static_plan, text_of


def read_table(text: str) -> pandas.DataFrame:
    return pandas.read_csv(io.StringIO(text), comment="#", keep_default_na=False)


def test_the_checked_in_file_holds_the_whole_plan() -> None:
    plan = staged_plan(4_000_000, 5_000_000)
    document = json.loads(text_of(PlainJsonExport().render(plan), "mixture.json"))
    assert document["provenance"] == PROVENANCE
    assert document["total_tokens"] == 5_000_000
    assert document["stages"] == [
        {"stage": 1, "from_token": 0, "to_token": 4_000_000, "weights": {"web": 0.7, "code": 0.3}},
        {
            "stage": 2,
            "from_token": 4_000_000,
            "to_token": 5_000_000,
            "weights": {"web": 0.25, "code": 0.65, "wiki": 0.1},
        },
    ]
    assert document["domains"]["web"] == {
        "available_tokens": 1_000_000,
        "epochs": pytest.approx(0.7 * 4 + 0.25),
        "mean_document_tokens": None,
        "paths": ["/data/web"],
    }
    assert document["dropped"] == ["wiki"]


def test_a_table_row_is_a_domain_of_a_stage() -> None:
    table = read_table(text_of(PlainCsvExport().render(staged_plan(4_000_000, 5_000_000)), "mixture.csv"))
    assert tuple(table.columns) == COLUMNS
    assert table[["stage", "domain"]].to_numpy().tolist() == [
        [1, "web"],
        [1, "code"],
        [2, "web"],
        [2, "code"],
        [2, "wiki"],
    ]
    tokens = table["weight"] * (table["to_token"] - table["from_token"])
    assert table["tokens"].tolist() == pytest.approx(tokens.tolist())
    assert table["epochs"].astype(float).tolist() == pytest.approx((tokens / 1_000_000).tolist())


def test_unknown_tokens_leave_the_epochs_empty() -> None:
    plan = replace(static_plan({"web": 1.0}), domains=(domain("web", None),))
    assert read_table(PlainCsvExport().render(plan).files[0].text)["epochs"].tolist() == [""]


@pytest.mark.parametrize(
    "name", ["c#", "# none", 'say "hi"', "a,b", "two\nlines", "two\n# lines", "=1+1", "007", " x "]
)
def test_a_table_keeps_every_name_as_it_is(name: str) -> None:
    """Also for a reader to whom # begins a comment wherever it is not in quotes."""
    table = pandas.read_csv(
        io.StringIO(PlainCsvExport().render(static_plan({name: 1.0})).files[0].text), comment="#", dtype={"domain": str}
    )
    assert table["domain"].tolist() == [name]
    assert len(table) == 1


def test_names_that_a_spreadsheet_runs_are_kept_and_named() -> None:
    export = PlainCsvExport().render(static_plan({'=HYPERLINK("x")': 0.5, "web": 0.5}))
    rows = list(csv.reader(line for line in export.files[0].text.splitlines() if not line.startswith("#")))
    assert [row[3] for row in rows] == ["domain", '=HYPERLINK("x")', "web"]
    (note,) = [note for note in export.notes if "spreadsheet" in note]
    assert '"=HYPERLINK(\\"x\\")"' in note
    assert not any("spreadsheet" in note for note in PlainCsvExport().render(static_plan()).notes)
