"""Rows of two fidelities are never read together, and what was left out is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.formats.errors import FormatError
from app.formats.swarm_folder import read_swarm
from app.schemas.run_fidelity import ABOUT_MERGED, RunFidelity

ROWS = "run_id,w:a,w:b,loss:x,fidelity\nr1,1,0,1.0,trained\nr2,0,1,2.0,\nr3,0.5,0.5,9.0,merged\n"


def folder(tmp_path: Path, text: str) -> Path:
    (tmp_path / "runs.csv").write_text(text)
    return tmp_path


def test_merged_rows_are_left_out_and_counted(tmp_path: Path) -> None:
    swarm = read_swarm(folder(tmp_path, ROWS))
    assert swarm.runs.run_ids == ("r1", "r2")
    assert "runs.csv: 1 of 3 rows are not of fidelity trained: left out" in swarm.remarks.notes
    assert ABOUT_MERGED not in swarm.remarks.warnings


def test_merged_rows_are_taken_alone_and_the_output_warns(tmp_path: Path) -> None:
    swarm = read_swarm(folder(tmp_path, ROWS), fidelity=RunFidelity.MERGED)
    assert swarm.runs.run_ids == ("r3",)
    assert ABOUT_MERGED in swarm.remarks.warnings


def test_a_folder_without_rows_of_the_fidelity_says_which_there_are(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no run of fidelity trained; --fidelity merged takes the 1 that there are"):
        read_swarm(folder(tmp_path, "run_id,w:a,w:b,loss:x,fidelity\nr3,0.5,0.5,9.0,merged\n"))


def test_a_cell_that_is_no_fidelity_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"line 4, column 'fidelity': 'Merged' is no fidelity; accepted: trained"):
        read_swarm(folder(tmp_path, ROWS.replace("merged", "Merged")))
