"""CSV sources: what they hold, and how broken ones are refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from app.formats.csv_rows import MAX_COLUMNS, MAX_LINE_BYTES
from app.formats.errors import FormatError
from app.formats.imports import IMPORTS
from app.formats.imports.base import ImportedRun, Source
from tests.app.formats.imports.readings import read, reasons, runs

RUNS = "run_id,model_params,train_tokens,seed,w:a,w:b,loss:x,stderr:x,metric:y\n"
ROW = "r1,1e6,1e9,3,0.25,0.75,2.5,0.1,0.4\n"


def test_swarm_folder_tells_weights_losses_sizes_and_errors(tmp_path: Path) -> None:
    reading = read("swarm-folder", tmp_path, {"runs.csv": RUNS + ROW})
    run = runs(reading)["r1"]
    assert run.weights == {"a": 0.25, "b": 0.75}
    assert run.values == {"x": 2.5, "y": 0.4}
    assert (run.stderrs, run.model_params, run.train_tokens, run.seed) == ({"x": 0.1}, 1e6, 1e9, 3)
    assert [(target.name, target.direction) for target in reading.targets] == [("x", "minimize"), ("y", "maximize")]


def test_swarm_folder_takes_tokens_bounds_groups_and_units_of_the_lists(tmp_path: Path) -> None:
    files = {
        "runs.csv": RUNS + ROW,
        "domains.csv": "domain,available_tokens,max_weight,group,mean_document_tokens\nb,3000,0.5,g,120\na,1000,,g,\n",
        "targets.csv": "target,unit,direction,weight,family\nx,bits_per_byte,minimize,2,text\ny,share,maximize,1,qa\n",
    }
    reading = read("swarm-folder", tmp_path, files)
    b, a = reading.domains
    assert (b.name, b.available_tokens, b.max_weight, b.group, b.mean_document_tokens) == ("b", 3000, 0.5, "g", 120)
    assert (a.name, a.prior, a.max_weight) == ("a", 0.25, None)
    assert (reading.targets[0].unit, reading.targets[0].weight, reading.targets[0].family) == (
        "bits_per_byte",
        2.0,
        "text",
    )


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_any_line_ending_and_a_byte_order_mark_are_read(tmp_path: Path, ending: str) -> None:
    text = "\ufeff" + (RUNS + ROW).replace("\n", ending)
    assert runs(read("swarm-folder", tmp_path, {"runs.csv": text}))["r1"].values["x"] == 2.5


def test_an_empty_cell_is_a_missing_value(tmp_path: Path) -> None:
    text = "run_id,w:a,loss:x,loss:y\nr1,1,,nan\n"
    assert all(
        math.isnan(value) for value in runs(read("swarm-folder", tmp_path, {"runs.csv": text}))["r1"].values.values()
    )


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "the file is empty"),
        (RUNS, "there are no rows under the header"),
        (RUNS + ROW + "r2,1e6\n", r"runs\.csv, line 3: the row has 2 cells, the header has 9"),
        (RUNS + ROW + '"r2,1e6\n', r"line 3: .*quotes must come in pairs"),
        (RUNS.encode() + b"\xff\xfe1,2\n", r"line 2: the bytes are not UTF-8"),
        (RUNS.encode("utf-16"), "not UTF-8|not text"),
        (RUNS.encode() + b"r\0001\n", r"line 2: the file is not text"),
        (RUNS.replace(",", ";"), "separated by semicolons"),
        ("run_id,w:a,w:a,loss:x\n", r"column 'w:a' is named twice, as columns 2 and 3"),
        (RUNS + ROW.replace("2.5", "=2+3"), r"line 2, column 'loss:x': '=2\+3' is not a number"),
        (RUNS + ROW.replace("2.5", "1_000"), r"line 2, column 'loss:x': '1_000' is not a number"),
        ("run_id,loss:x\nr1,2\n", "there is no weight column"),
        ("w:a,loss:x\n1,2\n", "there is no column 'run_id'"),
        ("run_id,w:\x07,loss:x\n", "a character that cannot be shown"),
        ("run_id" + ",c" * 1, "no weight column"),
    ],
)
def test_a_broken_file_is_refused_at_its_place(tmp_path: Path, content: str | bytes, complaint: str) -> None:
    with pytest.raises(FormatError, match=complaint):
        list(read("swarm-folder", tmp_path, {"runs.csv": content}).runs)


def test_a_header_without_end_is_refused_before_it_is_held(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=f"more than {MAX_COLUMNS} columns"):
        read("swarm-folder", tmp_path, {"runs.csv": ",".join(f"c{j}" for j in range(MAX_COLUMNS + 1))})
    with pytest.raises(FormatError, match=f"line 1: the line is longer than {MAX_LINE_BYTES} bytes"):
        read("swarm-folder", tmp_path, {"runs.csv": b"a," * MAX_LINE_BYTES})


MIXTURES = "index,train_the_pile_arxiv,train_the_pile_pile_cc\n1,0.25,0.75\n2,1,0\n3,0.5,0.5\n"
LOSSES = "index,metric/the_pile_arxiv_val_loss\n2,3.5\n1,2.5\n9,1\n"


def test_regmix_tables_are_told_apart_joined_and_named_shortly(tmp_path: Path) -> None:
    reading = read("regmix-csv", tmp_path, {"b.csv": LOSSES, "a.csv": MIXTURES})
    assert [domain.name for domain in reading.domains] == ["arxiv", "pile_cc"]
    assert [(target.name, target.unit) for target in reading.targets] == [("arxiv", "nats_per_token")]
    records = list(reading.runs)
    taken = {record.external_id: record for record in records if isinstance(record, ImportedRun)}
    assert taken["1"].weights == {"arxiv": 0.25, "pile_cc": 0.75}
    assert taken["1"].values == {"arxiv": 2.5}
    assert taken["2"].values == {"arxiv": 3.5}
    assert {key: reason for key, (reason, _) in reasons(records).items()} == {"3": "no_metrics", "9": "no_weights"}


def test_regmix_without_a_loss_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"none of the files .* have columns of the form 'metric/<target>_val_loss'"):
        read("regmix-csv", tmp_path, {"a.csv": MIXTURES})


def test_two_losses_of_one_index_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"b\.csv, line 5: run '1' stands here and, with other values, on line 3"):
        list(read("regmix-csv", tmp_path, {"a.csv": MIXTURES, "b.csv": LOSSES + "1,7\n"}).runs)


@pytest.mark.parametrize("key", ["run", "run_id"])
def test_olmix_tables_are_joined_without_the_columns_about_the_run(tmp_path: Path, key: str) -> None:
    files = {
        "ratios.csv": f"Unnamed: 0,{key},name,index,dclm:art,wiki\n0,abc,first,0,0.4,0.6\n",
        "metrics.csv": f"{key},name,index,eval/arc (BPB v2),arc_acc\nabc,first,0,0.9,0.3\n",
    }
    reading = read("olmix-csv", tmp_path, files)
    run = runs(reading)["abc"]
    assert run.weights == {"dclm:art": 0.4, "wiki": 0.6}
    assert run.values == {"eval/arc (BPB v2)": 0.9, "arc_acc": 0.3}
    assert run.label == "first"
    assert [(target.unit, target.direction) for target in reading.targets] == [
        ("bits_per_byte", "minimize"),
        ("share", "maximize"),
    ]


@pytest.mark.parametrize(("table", "rows"), [("regmix_pile", 896), ("olmix_full", 384), ("slimpajama_nd", 1487)])
def test_every_run_of_a_public_table_is_read(public_table: Callable[[str], Path], table: str, rows: int) -> None:
    folder = public_table(table)
    source = Source({name: folder / name for name in ("runs.csv", "domains.csv", "targets.csv")})
    chosen = IMPORTS["swarm-folder"]
    assert len(runs(chosen.read(source, chosen.options()))) == rows
