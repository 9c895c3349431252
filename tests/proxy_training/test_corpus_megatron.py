"""Megatron's tokens become the text that they were made of, and are kept when the corpus is cut by the same file."""

from __future__ import annotations

import json
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from proxy_training.corpus_build import build_corpus
from proxy_training.corpus_config import read_config
from proxy_training.corpus_read import Corpus
from proxy_training.errors import CorpusError
from proxy_training.json_tokenizer import JsonTokenizer
from proxy_training.readers import megatron, read_blocks, read_documents
from proxy_training.readers.base import TextSource, TokenFiles
from tests.proxy_training.corpus_files import lines_of, write_megatron, write_tokenizer
from tests.proxy_training.text_corpora import texts

END_OF_TEXT = "<|endoftext|>"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> JsonTokenizer:
    return write_tokenizer(tmp_path_factory.mktemp("trained") / "t.json", texts(2, 40), marks=[END_OF_TEXT])


@pytest.fixture
def tokenizer(trained: JsonTokenizer, tmp_path: Path) -> JsonTokenizer:
    """The tokeniser whose file is ``tokenizer.json`` in the folder of the test."""
    assert trained.content is not None
    (tmp_path / "tokenizer.json").write_bytes(trained.content)
    return trained


def documents_of(path: Path, tokenizer: Path, keep: bool = False) -> list[tuple[str, list[int] | None]]:
    source = TextSource(token_files=TokenFiles(tokenizer, keep))
    found = [document for block in read_blocks(path, source) for document in read_documents(block)]
    return [(utf8.decode(), None if tokens is None else tokens.tolist()) for utf8, tokens in found]


def built(folder: Path, **config: object) -> Corpus:
    (folder / "c.yaml").write_text(json.dumps({"validation_fraction": 0.3, "context": 16, **config}))
    build_corpus(read_config(folder / "c.yaml"), folder / "out", overwrite=True)
    return Corpus.open(folder / "out", verify=True)


@pytest.mark.parametrize("dtype", ["<u2", "<i4", "<i8"])
def test_tokens_become_the_text_that_they_were_made_of(
    tmp_path: Path, tokenizer: JsonTokenizer, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(megatron, "BLOCK_BYTES", 700)
    monkeypatch.setattr(megatron, "_DOCUMENTS_AT_A_TIME", 7)
    made = [*texts(2, 40), "", "naïve 東京 🙂"]
    mark = tokenizer.vocab_size - 1
    tokens = [tokenizer.encode(text.encode()).tolist() if text else [] for text in made]
    write_megatron(tmp_path / "web_text_document", [[*own, mark] for own in tokens], dtype)
    found = documents_of(tmp_path / "web_text_document.bin", tmp_path / "tokenizer.json", keep=True)
    assert found == list(zip(made, tokens, strict=True))


def test_what_megatron_core_writes_is_read(tmp_path: Path, tokenizer: JsonTokenizer) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says which optional packages it misses
        theirs = pytest.importorskip("megatron.core.datasets.indexed_dataset")
    torch = pytest.importorskip("torch")
    made = texts(2, 12)
    writer = theirs.IndexedDatasetBuilder(str(tmp_path / "a.bin"), dtype=np.int32)
    for text in made:  # a sentence is a sequence, a document several of them
        tokens = tokenizer.encode(text.encode()).astype(np.int64)
        for part in np.array_split(tokens, 3):
            writer.add_item(torch.from_numpy(part))
        writer.end_document()
    writer.finalize(str(tmp_path / "a.idx"))
    assert [text for text, _ in documents_of(tmp_path / "a.bin", tmp_path / "tokenizer.json")] == made


def test_our_files_are_what_megatron_core_reads(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = pytest.importorskip("megatron.core.datasets.indexed_dataset")
    documents = [[1, 2, 3], [], [70, 80]]
    write_megatron(tmp_path / "a", documents)
    data = theirs.IndexedDataset(str(tmp_path / "a"))
    assert [data[n].tolist() for n in range(3)] == documents
    assert data.document_indices.tolist() == [0, 1, 2, 3]


def test_the_same_tokeniser_gives_one_corpus_from_text_and_from_tokens(
    tmp_path: Path, tokenizer: JsonTokenizer
) -> None:
    made = texts(2, 40)
    (tmp_path / "a.jsonl").write_bytes(lines_of(made))
    write_megatron(tmp_path / "a_text_document", [tokenizer.encode(text.encode()).tolist() for text in made])
    own = {"file": "tokenizer.json"}
    from_text = built(tmp_path, tokenizer=own, domains=[{"name": "a", "files": ["a.jsonl"]}])
    from_tokens = built(tmp_path, tokenizer=own, domains=[{"name": "a", "files": ["a_text_document"]}])
    assert from_text.corpus_hash == from_tokens.corpus_hash
    as_bytes = built(
        tmp_path, domains=[{"name": "a", "files": ["a_text_document.*"], "megatron_tokenizer": "tokenizer.json"}]
    )
    assert as_bytes.tokenizer == "bytes"
    split = as_bytes.manifest.domains[0]
    assert split.train.bytes + split.validation.bytes == sum(len(text.encode()) for text in made)


def test_tokens_are_kept_even_where_encoding_would_choose_others(tmp_path: Path, tokenizer: JsonTokenizer) -> None:
    # Sixty copies of one byte a token: encoding the text again would merge them.
    letters = [[int(tokenizer.encode(char.encode())[0]) for char in text] for text in texts(0, 30, 120)]
    assert max(len(tokenizer.encode(text.encode())) for text in texts(2, 5, 120)) < 120
    write_megatron(tmp_path / "a", letters)
    corpus = built(tmp_path, tokenizer={"file": "tokenizer.json"}, domains=[{"name": "a", "files": ["a"]}])
    validation = {tuple(document.tolist()) for document in corpus.validation_documents("a")}
    assert validation < {tuple(document) for document in letters}
    assert corpus.bytes_per_token("a") == 1.0


def index(**changed: int) -> bytes:
    """The index of three documents of two tokens, with something changed."""
    header = {"version": 1, "code": 8, "sequences": 3, "borders": 4} | changed
    return (
        b"MMIDIDX\0\0" + struct.pack("<QBQQ", *header.values()) + struct.pack("<3i3q4q", 2, 2, 2, 0, 4, 8, 0, 1, 2, 3)
    )


@pytest.mark.parametrize(
    ("tokens", "idx", "sentence"),
    [
        (b"\0" * 12, None, r"there is no .*a\.idx; Megatron's data are two files"),
        (b"\0" * 12, b"", r"a\.idx is no index of Megatron data: it does not begin with MMIDIDX"),
        (b"\0" * 12, b"\0" * 100, r"a\.idx is no index of Megatron data"),
        (b"\0" * 12, index(version=2), r"a\.idx is of version 2; version 1 can be read"),
        (b"\0" * 12, index(code=7), r"a\.idx says that a token is of type 7; accepted are whole numbers"),
        (b"\0" * 12, index()[:-5], r"a\.idx has 97 bytes where its header means 102; it is damaged or cut short"),
        (b"\0" * 12, index(sequences=2**62), r"a\.idx has 102 bytes where its header means"),
        (b"\0" * 12, index()[:-8] + struct.pack("<q", 2), r"a\.idx is damaged: its documents do not cover its 3 seq"),
        (b"\0" * 11, index(), r"a\.bin has 11 bytes where a\.idx means 12; it was cut short"),
        (b"", index(), r"a\.bin has 0 bytes where a\.idx means 12"),
        (b"\xff" * 12, index(), r"a\.bin, document 0 holds token 65535; .*tokenizer\.json has 401, so it is not"),
        (b"\0" * 12, index()[:-32] + struct.pack("<4q", 0, 2, 1, 3), r"a\.idx is damaged: its documents do not follow"),
        (b"\0" * 12, index()[:46] + struct.pack("<q", 99) + index()[54:], r"a\.bin ends before byte 103"),
        (b"\0" * 12, index()[:34] + struct.pack("<i", -2) + index()[38:], r"a\.idx is damaged: a sequence has a neg"),
    ],
    ids=range(14),
)
def test_broken_megatron_files_are_named(
    tmp_path: Path, tokenizer: JsonTokenizer, tokens: bytes, idx: bytes | None, sentence: str
) -> None:
    (tmp_path / "a.bin").write_bytes(tokens)
    if idx is not None:
        (tmp_path / "a.idx").write_bytes(idx)
    with pytest.raises(CorpusError, match=sentence):
        documents_of(tmp_path / "a.bin", tmp_path / "tokenizer.json")


def without_tokens(folder: Path) -> None:
    (folder / "a.bin").unlink()


def nothing(folder: Path) -> None:
    del folder


@pytest.mark.parametrize(
    ("change", "keys", "sentence"),
    [
        (without_tokens, {}, r"there is no file or folder .*a$|a\.bin"),
        (nothing, {}, r"a\.bin holds tokens; name their tokenizer\.json as megatron_tokenizer of the domain"),
        (nothing, {"megatron_tokenizer": "other.json"}, r"there is no tokeniser file .*other\.json"),
        (nothing, {"megatron_tokenizer": "a.idx"}, r"a\.idx is no tokenizer\.json that can be read"),
    ],
)
def test_tokens_that_cannot_become_text_are_refused(
    tmp_path: Path, change: Callable[[Path], None], keys: dict[str, str], sentence: str
) -> None:
    write_megatron(tmp_path / "a", [[1, 2]])
    change(tmp_path)
    with pytest.raises(CorpusError, match=sentence):
        built(tmp_path, domains=[{"name": "a", "files": ["a.idx"], **keys}])
