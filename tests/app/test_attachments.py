"""Downloads: safe names, text as it is, archives whose bytes depend on their files alone."""

from __future__ import annotations

import io
import time
import zipfile

import pytest

from app.attachments import attachment_of, safe_name


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("blend.stage-1.json", "blend.stage-1.json"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ('a"\r\nSet-Cookie: x', "a_Set-Cookie_x"),
        ("...", "file"),
        ("мир.csv", "_.csv"),
    ],
)
def test_names_are_safe_in_headers_and_folders(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_one_file_keeps_its_name_and_bytes() -> None:
    saved = attachment_of("archive", [("weights.csv", "domain,weight\nü,1\n")])
    assert (saved.filename, saved.media_type) == ("weights.csv", "text/csv")
    assert saved.content == "domain,weight\nü,1\n".encode()


def test_an_archive_depends_on_its_files_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    files = [("a.json", "{}"), ("../b.yaml", "ü: 1\n" * 1000)]
    first = attachment_of("my mix", files)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(4e9))
    assert attachment_of("my mix", files) == first
    assert first.filename == "my_mix.zip"
    with zipfile.ZipFile(io.BytesIO(first.content)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name).decode() for name in archive.namelist()} == {
            "a.json": "{}",
            "_b.yaml": "ü: 1\n" * 1000,
        }
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
