"""Gathering from small folders: determinism, the cache, duplicates, and what bad input says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from app.demo import gather as gathering
from app.demo.catalogues import translations
from app.demo.cloud_docs import plain_text
from app.demo.documents import MAX_DOCUMENT_BYTES, SeenText, clean, documents_of
from app.demo.errors import DemoTextMissing
from app.demo.gather import gather
from app.demo.packages import Package, TextFile, in_hash_order
from app.demo.sources import Source


def _folder_source(folder: Path, files: int = 5) -> Source:
    """A source of small files whose licence is that of an installed package."""
    folder.mkdir(exist_ok=True)
    for i in range(files):
        lines = [
            f"file {i} paragraph {j}: " + " ".join(f"word{(i * 7 + j * k) % 97}" for k in range(40)) for j in range(20)
        ]
        (folder / f"{i}.txt").write_text("\n\n".join(lines), encoding="utf-8")
    return Source(
        "notes",
        "notes",
        (Package("httpx", "httpx", ""),),
        1.0,
        lambda: [TextFile(path, path.name) for path in folder.glob("*.txt")],
        lambda path: path.read_text(encoding="utf-8"),
    )


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "MIN_DOMAIN_MEGABYTES", 0.01)


@pytest.mark.usefixtures("small")
def test_the_same_files_give_the_same_bytes_and_progress_ends_at_one(tmp_path: Path) -> None:
    source = _folder_source(tmp_path / "text")
    seen: list[float] = []
    first = gather(tmp_path / "a", sources=[source], on_progress=lambda fraction, _text: seen.append(fraction))
    second = gather(tmp_path / "b", sources=[source])
    assert (first.folder / "notes.jsonl").read_bytes() == (second.folder / "notes.jsonl").read_bytes()
    assert seen == sorted(seen)
    assert seen[-1] == 1
    assert first.domains[0].licence == "BSD-3-Clause"


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("damage", ["cut", "gone", "record"])
def test_a_damaged_folder_is_gathered_anew(tmp_path: Path, damage: str) -> None:
    source = _folder_source(tmp_path / "text")
    whole = gather(tmp_path / "out", sources=[source])
    path = whole.folder / "notes.jsonl"
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[:100])
    elif damage == "gone":
        path.unlink()
    else:
        (whole.folder / gathering.RECORD_FILE).write_text('{"key": ', encoding="utf-8")
    again = gather(tmp_path / "out", sources=[source])
    assert not again.was_there
    assert path.read_bytes() == content
    assert sorted(p.name for p in whole.folder.iterdir()) == ["corpus.yaml", "notes.jsonl", "sources.json"]


@pytest.mark.usefixtures("small")
def test_another_cap_is_another_text(tmp_path: Path) -> None:
    source = _folder_source(tmp_path / "text")
    gather(tmp_path / "out", sources=[source])
    assert not gather(tmp_path / "out", sources=[replace(source, megabytes=0.02)]).was_there


def test_a_missing_package_is_one_sentence_that_names_the_extra(tmp_path: Path) -> None:
    source = replace(_folder_source(tmp_path / "text"), packages=(Package("no-such-texts", "no_such_texts", "demo"),))
    with pytest.raises(DemoTextMissing) as caught:
        gather(tmp_path / "out", sources=[source])
    assert str(caught.value) == (
        "the demo's domain 'notes' cannot be read: the package no-such-texts is not installed; "
        "install it with: pip install 'mixwright[demo]'"
    )
    assert not (tmp_path / "out").exists()


def test_too_little_text_says_how_much_there_is_and_leaves_no_record(tmp_path: Path) -> None:
    with pytest.raises(DemoTextMissing, match=r"domain 'notes' found only 0\.0\d MB of text in httpx .*needs 2 MB"):
        gather(tmp_path / "out", sources=[_folder_source(tmp_path / "text")])
    assert list((tmp_path / "out").iterdir()) == []


def test_a_limit_below_two_megabytes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DemoTextMissing, match=r"a domain of 0\.5 MB is too small; give 2 MB or more"):
        gather(tmp_path / "out", max_megabytes=0.5)


@pytest.mark.usefixtures("small")
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file", encoding="utf-8")
    with pytest.raises(DemoTextMissing, match=r"cannot write the real text to the folder .*out"):
        gather(tmp_path / "out", sources=[_folder_source(tmp_path / "text")])


def test_a_paragraph_that_was_seen_is_dropped_and_a_short_line_is_kept() -> None:
    seen = SeenText()
    copied, short = "a licence header that stands in every file " * 4, "    return self"
    first = list(documents_of("\n\n".join([copied, short, "one " * 60]), seen))
    second = list(documents_of("\n\n".join([copied.replace("  ", "\n"), short, "two " * 60]), seen))
    assert copied.strip() in first[0]
    assert second == [short + "\n\n" + ("two " * 60).strip()]


def test_a_document_of_one_paragraph_is_kept_once() -> None:
    seen = SeenText()
    text = "the only paragraph " * 20
    assert list(documents_of(text, seen)) == [text.strip()]
    assert list(documents_of(text, seen)) == []


@pytest.mark.parametrize("text", ["ж" * 60_000, "line of words\n" * 5_000, ("word " * 30 + "\n\n") * 400])
def test_splitting_loses_no_letter_and_keeps_the_limit(text: str) -> None:
    class KnowsNothing(SeenText):
        def _is_new(self, text: str, kind: bytes) -> bool:
            del text, kind
            return True

    parts = list(documents_of(text, KnowsNothing()))
    assert max(len(part.encode()) for part in parts) <= MAX_DOCUMENT_BYTES
    lost = len("".join(text.split())) - sum(len("".join(part.split())) for part in parts)
    assert lost < 200  # a last piece that is too short to be a document


def test_cleaning_removes_control_characters_and_keeps_indentation() -> None:
    assert clean("\ufeffa\x00\r\n\tb  \n\n\n\nc\u2028d\r") == "a\n\tb\n\nc\nd"


def test_files_are_taken_in_an_order_that_does_not_depend_on_the_listing() -> None:
    files = [TextFile(Path(name), name) for name in "abcdefgh"]
    assert in_hash_order(files) == in_hash_order(reversed(files))
    assert in_hash_order(files) != files


def test_html_becomes_words() -> None:
    markup = (
        "<p>Creates a <code>Bucket</code> &amp; more; see <a href='x'>the guide</a>.</p>"
        "<ul> <li> <p> <b>Fast</b> </p> </li> <li>Small &lt;5</li></ul><note><p>x &gt; y</p></note>"
    )
    assert plain_text(markup) == "Creates a Bucket & more; see the guide.\n- Fast\n- Small <5\nx > y"


def test_catalogues_give_translations_plurals_and_escapes_but_no_header() -> None:
    catalogue = (
        'msgid ""\nmsgstr ""\n"Project-Id: x\\n"\n\n#: a.py\nmsgctxt "c"\nmsgid "one"\nmsgstr "eins \\"1\\""\n\n'
        'msgid "day"\nmsgid_plural "days"\nmsgstr[0] "Tag"\nmsgstr[1] "Ta"\n"ge\\nmehr"\n\nmsgid "empty"\nmsgstr ""\n'
    )
    assert list(translations(catalogue)) == ['eins "1"', "Tag", "Tage\nmehr"]
