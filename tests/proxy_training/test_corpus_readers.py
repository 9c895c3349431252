"""Every format gives the same documents, and what is broken is told by name and place."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from proxy_training.corpus_build import build_corpus
from proxy_training.corpus_config import read_config
from proxy_training.errors import CorpusError
from proxy_training.readers import base, columns, compression, json_lines, read_blocks, read_documents
from proxy_training.readers.base import TextSource
from tests.proxy_training.corpus_files import FORMATS, lines_of, table_of, write_parquet, write_zstd
from tests.proxy_training.text_corpora import texts, write_config


def documents_of(path: Path, field: str = "text") -> list[str]:
    blocks = read_blocks(path, TextSource(field))
    return [document.utf8.decode() for block in blocks for document in read_documents(block)]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_documents_that_were_written(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (base, columns, json_lines):
        monkeypatch.setattr(module, "BLOCK_BYTES", 1000)  # so that documents lie across the borders of blocks
    made = [*texts(2, 40), "", "a\nb", "x" * 5000]
    FORMATS[name](tmp_path / name, made)
    assert documents_of(tmp_path / name) == made
    positions = [block.position for block in read_blocks(tmp_path / name, TextSource())]
    assert positions == sorted(positions)
    assert 0 < positions[-1] <= (tmp_path / name).stat().st_size


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_a_text_file_may_be_compressed(tmp_path: Path, suffix: str) -> None:
    compress = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}[suffix]
    path = tmp_path / f"letter.txt{suffix}"
    path.write_bytes(compress(b"\xef\xbb\xbfDear\n\nreader"))
    assert documents_of(path) == ["Dear\n\nreader"]


def test_zstd_with_a_long_window_can_be_read(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=30, enable_ldm=True)
    path = tmp_path / "a.jsonl.zst"
    with path.open("wb") as file, zstandard.ZstdCompressor(compression_params=parameters).stream_writer(file) as writer:
        writer.write(lines_of(texts(0, 5)))
    assert documents_of(path) == texts(0, 5)


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_the_field_of_the_text_has_the_name_that_the_domain_gives(tmp_path: Path, name: str) -> None:
    made = texts(0, 40)
    if name == "a.jsonl":
        (tmp_path / name).write_bytes(lines_of(made, "body of text"))
    else:
        write_parquet(tmp_path / name, made, "body of text")
    config = {"name": "a", "files": [name], "text_field": "body of text"}
    (tmp_path / "c.yaml").write_text(json.dumps({"validation_fraction": 0.3, "domains": [config]}))
    domain = build_corpus(read_config(tmp_path / "c.yaml"), tmp_path / "out").domains[0]
    assert domain.train.bytes + domain.validation.bytes == sum(map(len, made))


def test_one_domain_may_mix_formats_and_finds_copies_across_them(tmp_path: Path) -> None:
    made = texts(1, 40)
    (tmp_path / "mixed").mkdir()
    for name, write in FORMATS.items():
        write(tmp_path / "mixed" / name, made)
    config = read_config(write_config(tmp_path, {"a": ["mixed"]}, validation_fraction=0.3))
    domain = build_corpus(config, tmp_path / "out").domains[0]
    assert domain.train.documents + domain.validation.documents == 40
    assert domain.duplicates_dropped == 40 * (len(FORMATS) - 1)


def cut(keep: float) -> Callable[[bytes], bytes]:
    return lambda data: data[: int(len(data) * keep)]


def in_the_middle(wrong: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data[: len(data) // 2] + wrong + data[len(data) // 2 + len(wrong) :]


def without_end_mark(data: bytes) -> bytes:
    return data[:-8]


@pytest.mark.parametrize(
    ("name", "damage", "sentence"),
    [
        ("a.jsonl.gz", cut(0.3), "a.jsonl.gz was cut short: its compressed data has no end"),
        ("a.jsonl.gz", in_the_middle(b"\0" * 40), "a.jsonl.gz is damaged: "),
        ("a.jsonl.gz", lambda data: b"no gzip", "a.jsonl.gz is damaged: Not a gzipped file"),
        ("a.NDJSON.zst", cut(0.3), "a.NDJSON.zst was cut short: its compressed data has no end"),
        ("a.NDJSON.zst", lambda data: b"no zstd", "a.NDJSON.zst is damaged: "),
        ("a.parquet", cut(0.7), "a.parquet is damaged or no Parquet file: "),
        ("a.parquet", lambda data: b"", "a.parquet is damaged or no Parquet file: "),
        (
            "a.parquet",
            lambda data: data[:4] + b"\xff" * 3000 + data[3004:],
            "a.parquet is damaged or no Parquet file: ",
        ),
        ("stream.arrow", cut(0.7), "stream.arrow (was cut short|is damaged)"),
        ("stream.arrow", without_end_mark, "stream.arrow was cut short: it does not end with"),
        ("stream.arrow", lambda data: b"no arrow", "stream.arrow is damaged or no Arrow file"),
        ("file.arrow", cut(0.7), "file.arrow is damaged or no Arrow file"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, name: str, damage: Callable[[bytes], bytes], sentence: str) -> None:
    FORMATS[name](tmp_path / name, texts(0, 40, 2000))
    (tmp_path / name).write_bytes(damage((tmp_path / name).read_bytes()))
    with pytest.raises(CorpusError, match=sentence) as caught:
        documents_of(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_last_zstd_frame_that_ends_early_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.zst"
    write_zstd(path, texts(0, 40))
    whole = path.read_bytes()
    for missing in (1, 5, 100):
        path.write_bytes(whole[:-missing])
        with pytest.raises(CorpusError, match="was cut short"):
            documents_of(path)


def write_table(path: Path, table: pa.Table) -> None:
    pq.write_table(table, path)


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (table_of(["x"], "content"), "has no column 'text', only 'id', 'content'; name one of them .*: 'content'"),
        (pa.table({"id": [1]}), "has no column 'text', only 'id'; it has no text"),
        (pa.table({"text": [1], "body": ["x"]}), "the column 'text' holds int64 and no text; .*: 'body'"),
        (pa.table({"text": [b"x"]}), "the column 'text' holds binary and no text"),
        (pa.table({"text": [["x"]]}), "the column 'text' holds list.* and no text"),
        (pa.table({"text": ["x", "y", None]}), "row 2: the column 'text' is null; every row must hold a text"),
        (pa.table({"text": pa.array([b"x", b"\xff"]).view(pa.string())}), "row 1: byte 0 of the text is not UTF-8"),
    ],
)
def test_a_table_without_a_text_in_every_row_is_refused_with_the_columns_that_there_are(
    tmp_path: Path, table: pa.Table, sentence: str
) -> None:
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(CorpusError, match=rf"a\.parquet.*{sentence}"):
        documents_of(tmp_path / "a.parquet")


def test_a_line_without_the_field_names_those_that_there_are(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n{"content": "x", "id": 3}\n')
    with pytest.raises(CorpusError, match=r"line 2: no 'text' in it, only 'content', 'id'; .*another text_field"):
        documents_of(tmp_path / "a.jsonl")


@pytest.mark.parametrize("name", ["a.jsonl.zst", "a.txt.gz", "a.parquet", "stream.arrow"])
def test_a_document_too_large_for_memory_is_refused_in_every_format(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "LARGEST_DOCUMENT_BYTES", 1 << 20)
    large = "y" * ((1 << 20) + 1)
    if name == "a.txt.gz":
        (tmp_path / name).write_bytes(gzip.compress(large.encode()))
    else:
        FORMATS.get(name, write_zstd)(tmp_path / name, ["x", large])
    with pytest.raises(CorpusError, match=f"{name}.*: a document of more than 1 MiB"):
        documents_of(tmp_path / name)


def test_a_file_that_inflates_without_end_costs_no_more_than_a_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "LARGEST_DOCUMENT_BYTES", 1 << 20)
    read: list[int] = []
    original = compression._ZstdFrames.readinto
    monkeypatch.setattr(
        compression._ZstdFrames, "readinto", lambda self, buffer: read.append(len(buffer)) or original(self, buffer)
    )
    (tmp_path / "a.jsonl.zst").write_bytes(zstandard.compress(b" " * (64 << 20)))
    with pytest.raises(CorpusError, match="line 1: a document of more than 1 MiB"):
        documents_of(tmp_path / "a.jsonl.zst")
    assert sum(read) < 4 << 20
