"""The strict reading of CSV: what spreadsheets write is read, everything else is refused by line and column."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from app.formats.csv_table import read_table
from app.formats.errors import FormatError, name_list


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "table.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        "run_id,x\na,1\nb,2\n",
        "\ufeffrun_id,x\na,1\nb,2\n",  # byte order mark
        "run_id,x\r\na,1\r\nb,2\r\n",
        "run_id,x\ra,1\rb,2\r",
        'run_id , "x"\n a ,"1"\nb, 2\n',
        "\nrun_id,x\n\na,1\n,\nb,2\n\n",  # blank lines, and the empty rows that spreadsheets leave
        "run_id,x,\na,1,\nb,2,\n",  # a column without a name
    ],
)
def test_the_same_table_in_every_accepted_spelling(tmp_path: Path, content: str) -> None:
    table = read_table(written(tmp_path, content))
    assert table.names("run_id", "run") == ["a", "b"]
    np.testing.assert_array_equal(table.numbers("x"), [1.0, 2.0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("\n \n", "the file is empty"),
        ("run_id,x\n", "no rows under the header"),
        ("run_id;x\na;1\n", "separated by semicolons; they must be separated by commas"),
        ("run_id\tx\na\t1\n", "separated by tabs"),
        ("run_id,x,x\na,1,2\n", "'x' is named twice, as columns 2 and 3"),
        ("run_id,x\na,1\nb\n", "line 3: the row has 1 cells, the header has 2"),
        ("run_id,x\na,1,9\n", "line 2: the row has 3 cells, the header has 2"),
        ('run_id,x\na,"1\n', "line 2: .*quotes must come in pairs"),
        (b"run_id,x\na,1\nb,\xff\n", "line 3: the bytes are not UTF-8 text"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "is not text"),
        ("run_id,x\na,1\n".encode("utf-16"), "is not text"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        read_table(written(tmp_path, content))
    assert str(tmp_path / "table.csv") in str(caught.value)


def test_a_directory_a_missing_and_an_unreadable_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="is a directory"):
        read_table(tmp_path)
    with pytest.raises(FormatError, match="does not exist"):
        read_table(tmp_path / "absent.csv")
    loop = tmp_path / "loop.csv"
    loop.symlink_to(loop)
    with pytest.raises(FormatError, match=r"cannot be read: .*symbolic links"):
        read_table(loop)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "run_id,x\na,1\n")
    path.chmod(0)
    with pytest.raises(FormatError, match="cannot be read: Permission denied"):
        read_table(path)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("much", "'much' is not a finite number"),
        ("0;5", "'0;5' is not a finite number"),
        ("1_000", "'1_000' is not a finite number"),
        ("inf", "'inf' is not a finite number"),
        ("nan", "nan is not a number"),
        ("", "the cell is empty"),
    ],
)
def test_a_cell_that_is_no_number_is_refused_by_line_and_column(tmp_path: Path, cell: str, message: str) -> None:
    table = read_table(written(tmp_path, f"run_id,x\na,1\nb,{cell}\n"))
    with pytest.raises(FormatError, match=f"table.csv, line 3, column 'x': {message}; write a share$"):
        table.numbers("x", hint="; write a share")


def test_an_empty_cell_stands_for_what_the_caller_says(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "run_id,x\na,\nb,nan\nc,NaN\nd,3\n"))
    np.testing.assert_array_equal(table.numbers("x", blank=7.0), [7, 7, 7, 3])


def test_lines_are_counted_through_quoted_line_breaks(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, 'run_id,x\n"a\nb",1\n\nc,bad\n'))
    with pytest.raises(FormatError, match="line 5, column 'x'"):
        table.numbers("x")


def test_names_must_be_there_and_differ(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "run_id,x\na,1\nb,2\na,3\n"))
    with pytest.raises(FormatError, match="line 4, column 'run_id': run 'a' stands here and on line 2"):
        table.names("run_id", "run")
    table = read_table(written(tmp_path, "run_id,x\na,1\n,2\n"))
    with pytest.raises(FormatError, match="line 3, column 'run_id': a run has no name"):
        table.names("run_id", "run")
    with pytest.raises(FormatError, match="there is no column 'mix'; the columns are 'run_id', 'x'"):
        table.texts("mix")


def test_a_long_list_of_names_is_cut(tmp_path: Path) -> None:
    assert name_list(["a", "b"]) == "'a', 'b'"
    assert name_list("abcdef", most=4) == "'a', 'b', 'c', 'd' and 2 more"
