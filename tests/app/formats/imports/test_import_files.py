"""Uploads and archives: what is unpacked, and what never reaches the disk."""

from __future__ import annotations

import io
import stat
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from app.formats.errors import FormatError
from app.formats.imports.files import MAX_FILES, Upload, gather, only


def packed(*entries: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


def upload(name: str, content: bytes) -> Upload:
    return Upload(name, io.BytesIO(content))


def test_archives_are_unpacked_without_the_clutter_of_file_managers(tmp_path: Path) -> None:
    archive = packed(
        ("swarm/", b""), ("swarm/runs.csv", b"x"), ("__MACOSX/swarm/._runs.csv", b"y"), ("a/.DS_Store", b"z")
    )
    files = gather([upload("s.zip", archive), upload("domains.csv", b"d")], tmp_path, 1000)
    assert {name: path.read_bytes() for name, path in files.items()} == {"swarm/runs.csv": b"x", "domains.csv": b"d"}
    found = only(files, "runs.csv")
    assert found is not None
    assert found[0] == "swarm/runs.csv"


@pytest.mark.parametrize(
    "name", ["../runs.csv", "/etc/passwd", "a/../../b", "..\\runs.csv", "C:\\x", "", "a\nb", "a\0b"]
)
def test_names_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    with pytest.raises(FormatError, match="no relative name of a file"):
        gather([upload(name, b"x")], folder, 1000)
    if name and "\0" not in name:
        with pytest.raises(FormatError, match="no relative name of a file"):
            gather([upload("s.zip", packed((name, b"x")))], folder, 1000)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_archive_that_unpacks_to_too_much_is_stopped(tmp_path: Path) -> None:
    bomb = packed(("runs.csv", b"0" * 10_000_000))
    assert len(bomb) < 20_000
    with pytest.raises(FormatError, match="more than 100000 bytes, unpacked"):
        gather([upload("bomb.zip", bomb)], tmp_path, 100_000)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) <= 100_000


def test_links_passwords_and_too_many_files_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("runs.csv")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(FormatError, match="is a link"):
        gather([upload("s.zip", buffer.getvalue())], tmp_path, 1000)
    many = packed(*((f"{i}.csv", b"") for i in range(MAX_FILES + 1)))
    with pytest.raises(FormatError, match=f"more than {MAX_FILES} files"):
        gather([upload("s.zip", many)], tmp_path, 1000)


def test_a_list_of_files_that_is_larger_than_all_files_may_be_is_not_read(tmp_path: Path) -> None:
    """Each file that is only listed would cost more than ten times its bytes in the archive."""
    one = packed(("__MACOSX/x", b""))
    start = one.index(b"PK\1\2")
    entry, end = one[start : one.index(b"PK\5\6")], bytearray(one[one.index(b"PK\5\6") :])
    count = 40_000
    end[8:12] = (count % 2**16).to_bytes(2, "little") * 2
    end[12:16] = (count * len(entry)).to_bytes(4, "little")
    bomb = upload("s.zip", one[:start] + entry * count + end)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=r"s\.zip: the archive lists more files than an import may have"):
            gather([bomb], tmp_path, 1000)
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("damage", [0, 35, -30])
def test_a_damaged_archive_is_named(tmp_path: Path, damage: int) -> None:
    content = bytearray(packed(("runs.csv", bytes(range(256)) * 8)))
    content[damage] ^= 0xFF
    content[damage + 3] ^= 0xFF
    with pytest.raises(FormatError, match=r"s\.zip: the archive"):
        gather([upload("s.zip", bytes(content))], tmp_path, 10_000)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="two files have this name"):
        gather([upload("a.csv", b"1"), upload("a.csv", b"2")], tmp_path, 1000)
    with pytest.raises(FormatError, match=r"there are several files called runs\.csv"):
        only({"a/runs.csv": tmp_path, "b/runs.csv": tmp_path}, "runs.csv")
    with pytest.raises(FormatError, match="another file or folder has this name"):
        gather([upload("x", b"1"), upload("x/y", b"2")], tmp_path / "other", 1000)
