"""A corpus that is not whole is refused when it is opened, by the name of the file that is wrong."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from proxy_training.corpus_read import Corpus
from proxy_training.errors import CorpusError
from tests.proxy_training.text_corpora import make_corpus, texts, train_tokens_of


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_corpus(tmp_path_factory.mktemp("read"), {"a": texts(0, 40), "b": texts(1, 40)}, validation_fraction=0.3)


@pytest.fixture
def folder(built: Corpus, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(built.folder, tmp_path / "corpus"))


def change_manifest(folder: Path, change: Callable[[dict], None]) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_what_was_built_is_what_is_read(built: Corpus) -> None:
    assert built.domains == ("a", "b")
    assert (built.tokenizer, built.vocab_size) == ("bytes", 256)
    assert train_tokens_of(built, "a").dtype == np.uint8
    documents = built.validation_documents("b")
    assert len(documents) == len(documents.byte_counts) > 5
    assert {document.tobytes().decode() for document in documents} < set(texts(1, 40))
    assert [len(document) for document in documents] == documents.token_counts.tolist()


def test_arrays_cannot_be_written_to(built: Corpus) -> None:
    with pytest.raises(ValueError, match="read-only"):
        train_tokens_of(built, "a")[0] = 1


def test_a_domain_it_does_not_have_is_refused_by_name(built: Corpus) -> None:
    with pytest.raises(CorpusError, match="has no domain 'c'; it has a, b"):
        built.train_tokens("c")


@pytest.mark.parametrize("file", ["000-a.train.tokens", "001-b.validation.index"])
def test_a_shard_cut_short_is_refused(folder: Path, file: str) -> None:
    with (folder / file).open("r+b") as shard:
        shard.truncate(100)
    with pytest.raises(CorpusError, match=f"{file} has 100 bytes where the manifest means"):
        Corpus.open(folder)


def test_a_missing_shard_is_refused(folder: Path) -> None:
    (folder / "001-b.train.tokens").unlink()
    with pytest.raises(CorpusError, match=r"001-b\.train\.tokens is missing"):
        Corpus.open(folder)


def test_one_changed_byte_is_found_by_verifying(folder: Path) -> None:
    with (folder / "000-a.validation.tokens").open("r+b") as shard:
        shard.seek(77)
        shard.write(b"!")
    Corpus.open(folder)
    with pytest.raises(CorpusError, match=r"000-a\.validation\.tokens was changed"):
        Corpus.open(folder, verify=True)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda m: m.update(tokenizer="gpt2"), "its corpus_hash is not that of its content"),
        (lambda m: m["domains"].reverse(), "its corpus_hash is not that of its content"),
        (lambda m: m["domains"][0]["train"].update(tokens=5), "000-a.train.tokens has .* where the manifest means 5"),
        (lambda m: m.update(format_version=2), "has format version 2; this version of Mixwright reads 1"),
        (lambda m: m["domains"][0].pop("train"), "is damaged .domains.0.train: Field required"),
        (lambda m: m["domains"][0]["train"]["shard"].update(file="../../secret"), "is damaged .domains.0.train.shard"),
        (lambda m: m.update(format="other"), "is damaged .format"),
    ],
)
def test_a_changed_manifest_is_refused(folder: Path, change: Callable[[dict], None], sentence: str) -> None:
    change_manifest(folder, change)
    with pytest.raises(CorpusError, match=sentence):
        Corpus.open(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"3"])
def test_a_manifest_that_is_none_is_refused(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(CorpusError, match=r"manifest\.json is (not JSON|damaged)"):
        Corpus.open(folder)


def test_a_shard_that_is_cut_short_between_two_reads_of_a_batch_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus, read = Corpus.open(folder), os.pread
    shard = corpus.manifest.domains[0].train.shard
    reads: list[int] = []

    def read_then_cut(descriptor: int, size: int, offset: int) -> bytes:
        reads.append(offset)
        found = read(descriptor, size, offset)
        os.truncate(folder / shard.file, 4000)
        return found

    monkeypatch.setattr(os, "pread", read_then_cut)
    with pytest.raises(CorpusError, match=f"{shard.file} was cut short .* from {shard.bytes} bytes to 4000; build"):
        corpus.train_windows("a", np.array([5000, 3000, 3990]), 17)
    assert reads == [5000, 3000, 3990, 4000]


def test_a_folder_that_is_no_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"is not a corpus: it has no manifest\.json; 'mixwright corpus build' makes"):
        Corpus.open(tmp_path)
    with pytest.raises(CorpusError, match="there is no corpus folder"):
        Corpus.open(tmp_path / "nothing")
