"""A file appears whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app import atomic_files


def test_text_replaces_a_file_and_keeps_its_permissions(tmp_path: Path) -> None:
    place = tmp_path / "out.csv"
    atomic_files.write_text(place, "old")
    place.chmod(0o640)
    atomic_files.write_text(place, "Größe\r\n")
    assert place.read_bytes() == "Größe\r\n".encode()
    assert place.stat().st_mode & 0o777 == 0o640
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.csv"]


def test_a_link_stays_a_link_to_the_new_text(tmp_path: Path) -> None:
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to("real.csv")
    atomic_files.write_text(tmp_path / "link.csv", "new")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text() == "new"


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    place = tmp_path / "out.csv"
    place.write_text("old")

    def fail(descriptor: int) -> None:
        raise failure

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(type(failure)):
        atomic_files.write_text(place, "new")
    assert place.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.csv"]


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="is not a regular file"):
        atomic_files.check_writable(pipe)
