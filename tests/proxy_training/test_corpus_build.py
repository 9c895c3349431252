"""A built corpus holds every document once, on one side of the split, and nothing is left of a failed build."""

from __future__ import annotations

import json
import os
import resource
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from proxy_training.build_progress import BuildProgress
from proxy_training.corpus_build import build_corpus
from proxy_training.corpus_config import CorpusConfig, read_config
from proxy_training.corpus_read import Corpus
from proxy_training.errors import CorpusError
from proxy_training.readers import base
from tests.proxy_training.text_corpora import make_corpus, names_in, texts, train_tokens_of, write_config, write_jsonl


def documents_of(corpus: Corpus, domain: str) -> tuple[set[bytes], set[bytes]]:
    """(training, validation) documents; the training ones found through the index of the manifest."""
    split = next(d for d in corpus.manifest.domains if d.name == domain).train
    rows = np.fromfile(corpus.folder / split.index.file, dtype="<i8").reshape(-1, 3)
    tokens = train_tokens_of(corpus, domain)
    train = {tokens[first : first + count].tobytes() for first, count, _ in rows}
    return train, {document.tobytes() for document in corpus.validation_documents(domain)}


def folder_content(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder``."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def config_of(folder: Path, **files: list[str]) -> CorpusConfig:
    return read_config(write_config(folder, files, validation_fraction=0.3))


def test_every_document_is_there_once_and_on_one_side(tmp_path: Path) -> None:
    wanted = {name: texts(seed, 60) for seed, name in enumerate(("one", "two"))}
    corpus = make_corpus(tmp_path, wanted, validation_fraction=0.3)
    for domain, originals in wanted.items():
        train, validation = documents_of(corpus, domain)
        assert train | validation == {text.encode() for text in originals}
        assert not train & validation
        assert corpus.train_tokens(domain) == len(train_tokens_of(corpus, domain)) == sum(map(len, train))


def test_copies_are_dropped_within_and_across_domains_and_counted(tmp_path: Path) -> None:
    shared, own = texts(0, 30), texts(1, 30)
    corpus = make_corpus(
        tmp_path, {"a": [*shared, *shared[:7]], "b": [*own, *shared[:5], own[0]]}, validation_fraction=0.3
    )
    first, second = corpus.manifest.domains
    assert (first.duplicates_dropped, second.duplicates_dropped) == (7, 6)
    assert (
        first.train.documents + first.validation.documents,
        second.train.documents + second.validation.documents,
    ) == (30, 30)


def test_the_validation_part_is_the_asked_fraction(tmp_path: Path) -> None:
    n, fraction = 4000, 0.2
    corpus = make_corpus(tmp_path, {"a": [f"{i:04d} " + "x" * 70 for i in range(n)]}, validation_fraction=fraction)
    # Binomial: 5 standard deviations are a false alarm of 6e-7; the texts are fixed anyway.
    assert abs(corpus.manifest.domains[0].validation.documents - n * fraction) < 5 * np.sqrt(
        n * fraction * (1 - fraction)
    )


def test_a_document_keeps_its_side_when_others_come_and_go(tmp_path: Path) -> None:
    many = texts(0, 80)
    small = make_corpus(tmp_path / "small", {"a": many[::2]}, validation_fraction=0.3)
    large = make_corpus(tmp_path / "large", {"a": many}, validation_fraction=0.3)
    assert documents_of(small, "a")[0] <= documents_of(large, "a")[0]
    assert documents_of(small, "a")[1] <= documents_of(large, "a")[1]


def test_the_first_validation_documents_come_from_all_of_the_text(tmp_path: Path) -> None:
    old, new = [f"old {i} " + "x" * 70 for i in range(400)], [f"new {i} " + "x" * 70 for i in range(400)]
    corpus = make_corpus(tmp_path, {"a": [*old, *new]}, validation_fraction=0.5)
    documents = corpus.validation_documents("a")
    first = [documents[number].tobytes()[:3] for number in range(100)]
    # Hypergeometric with mean 50 and standard deviation below 5: outside of 25 .. 75 in less than 1e-6.
    assert 25 < first.count(b"old") < 75


def test_bytes_and_tokens_count_utf8(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, {"greek": texts(2, 40)}, validation_fraction=0.3)
    assert corpus.bytes_per_token("greek") == 1.0
    documents = corpus.validation_documents("greek")
    assert documents.byte_counts.tolist() == [len(document) for document in documents]
    assert documents[0].tobytes().decode() in texts(2, 40)


def test_the_hash_is_of_the_content_and_not_of_place_or_note(tmp_path: Path) -> None:
    def built(folder: Path, name: str, documents: list[str], licence: str) -> str:
        folder.mkdir()
        write_jsonl(folder / name, documents)
        text = json.dumps({"domains": [{"name": "a", "files": [name], "licence": licence}], "validation_fraction": 0.3})
        (folder / "config.yaml").write_text(text)
        return build_corpus(read_config(folder / "config.yaml"), folder / "out").corpus_hash

    one = built(tmp_path / "one", "a.jsonl", texts(0, 40), "MIT")
    assert built(tmp_path / "two", "b.jsonl", texts(0, 40), "CC0-1.0") == one
    assert built(tmp_path / "three", "a.jsonl", [*texts(0, 40), "y" * 80], "MIT") != one


def test_files_folders_and_globs_make_one_domain_each_file_once(tmp_path: Path) -> None:
    (tmp_path / "letters" / "old").mkdir(parents=True)
    (tmp_path / "letters" / ".git").mkdir()
    (tmp_path / "letters" / ".git" / "blob").write_bytes(b"\0")
    made = texts(0, 30)
    for number, text in enumerate(made[:10]):
        (tmp_path / "letters" / ("old" if number % 2 else ".") / f"{number}.txt").write_text(text)
    for number, text in enumerate(made[10:20]):
        (tmp_path / f"note[{number}].md").write_text(text)
    write_jsonl(tmp_path / "rest.ndjson", made[20:])
    config = config_of(tmp_path, a=["letters", "*.md", "note[3].md", str(tmp_path / "rest.*"), "letters/**/*.txt"])
    domain = build_corpus(config, tmp_path / "out").domains[0]
    assert domain.train.documents + domain.validation.documents == 30
    assert domain.duplicates_dropped == 0


def test_byte_order_marks_blank_lines_and_empty_documents_are_not_text(tmp_path: Path) -> None:
    lines = [json.dumps({"text": text, "id": 3}) for text in [*texts(0, 30), "", " \n\t"]]
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + "\n\n".join(lines).encode() + b"\r\n\n")
    domain = build_corpus(config_of(tmp_path, a=["a.jsonl"]), tmp_path / "out").domains[0]
    assert domain.train.documents + domain.validation.documents == 30
    assert domain.empty_dropped == 2


WRONG_FILES: dict[str, tuple[str, bytes, str]] = {
    "not json": ("a.jsonl", b'{"text": "x"}\n{"text": \n', "a.jsonl, line 2: not JSON .*column"),
    "no text": ("a.jsonl", b'\n{"content": "x"}', "a.jsonl, line 2: no 'text' in it"),
    "not an object": ("a.jsonl", b'["text"]', "a.jsonl, line 1: no object with a text"),
    "null": ("a.jsonl", b'{"text": null}', "a.jsonl, line 1: no object with a text"),
    "latin-1 line": ("a.jsonl", b'{"text": "x"}\n{"text": "\xe9t\xe9"}', "a.jsonl, line 2: not UTF-8 text"),
    "half a character": ("a.jsonl", b'{"text": "\\ud800"}', "a.jsonl, line 1: .*half of a surrogate pair"),
    "deep": ("a.jsonl", b"[" * 100_000, "a.jsonl, line 1: JSON that cannot be read"),
    "binary": ("a.txt", b"GIF89a\x00\x01", "a.txt is not text: byte 6 is zero"),
    "latin-1": ("a.txt", b"caf\xe9 noir", "a.txt is not text: byte 3 is not UTF-8"),
    "xz": ("a.jsonl.xz", b"\xfd7zXZ\x00\x00", "is not text: .*accepted are UTF-8 text files and JSON Lines"),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_a_file_that_is_not_text_is_named_and_nothing_is_left(tmp_path: Path, case: str) -> None:
    name, content, sentence = WRONG_FILES[case]
    write_jsonl(tmp_path / "good.jsonl", texts(0, 30))
    (tmp_path / name).write_bytes(content)
    config = config_of(tmp_path, good=["good.jsonl"], bad=[name])
    before = names_in(tmp_path)
    with pytest.raises(CorpusError, match=sentence):
        build_corpus(config, tmp_path / "out")
    assert names_in(tmp_path) == before


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ("missing.txt", "domain 'a': there is no file or folder .*missing.txt"),
        ("*.csv", r"domain 'a': no file matches '\*.csv' below"),
        ("empty", "domain 'a': the folder .*empty holds no files"),
        ("pipe", "domain 'a': .*pipe is neither a file nor a folder"),
    ],
)
def test_files_that_are_not_there_are_named(tmp_path: Path, entry: str, sentence: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".hidden").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CorpusError, match=sentence):
        build_corpus(config_of(tmp_path, a=[entry]), tmp_path / "out")


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        ([], "domain 'a' has no document left: 0 were empty, 0 were copies"),
        (["", " "], "domain 'a' has no document left: 2 were empty"),
        (["short"], "domain 'a' has only 5 tokens; one sequence needs 65"),
        (["x" * 500], "no validation document of 65 tokens or more: 0 of its 1 documents|only 0 training tokens"),
        ([f"{i} {'x' * 60}" for i in range(50)], "no validation document of 65 tokens or more: [1-9][0-9]* of its 50"),
    ],
)
def test_a_domain_too_small_to_train_and_validate_on_is_refused(tmp_path: Path, made: list[str], sentence: str) -> None:
    write_jsonl(tmp_path / "a.jsonl", made)
    with pytest.raises(CorpusError, match=sentence):
        build_corpus(config_of(tmp_path, a=["a.jsonl"]), tmp_path / "out")


def test_a_domain_that_only_repeats_an_earlier_one_is_refused(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", texts(0, 30))
    with pytest.raises(CorpusError, match="domain 'b' has no document left: 0 were empty, 30 were copies"):
        build_corpus(config_of(tmp_path, a=["a.jsonl"], b=["a.jsonl"]), tmp_path / "out")


def test_a_document_too_large_for_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "LARGEST_DOCUMENT_BYTES", 1 << 20)
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "x" * 80}) + "\n" + json.dumps({"text": "y" * (1 << 20)}))
    (tmp_path / "a.txt").write_text("z" * ((1 << 20) + 1))
    for name, place in (("a.jsonl", "a.jsonl, line 2"), ("a.txt", "a.txt")):
        with pytest.raises(CorpusError, match=f"{place}: a document of more than 1 MiB"):
            build_corpus(config_of(tmp_path, a=[name]), tmp_path / "out")


def a_file(out: Path) -> None:
    out.write_text("mine")


def a_folder_of_mine(out: Path) -> None:
    out.mkdir()
    (out / "thesis.txt").write_text("mine")


@pytest.mark.parametrize(("put", "sentence"), [(a_file, "is a file"), (a_folder_of_mine, "holds other files")])
def test_what_is_no_corpus_is_never_overwritten(tmp_path: Path, put: Callable[[Path], None], sentence: str) -> None:
    write_jsonl(tmp_path / "a.jsonl", texts(0, 30))
    put(tmp_path / "out")
    before = folder_content(tmp_path)
    config = config_of(tmp_path, a=["a.jsonl"])
    with pytest.raises(CorpusError, match=sentence):
        build_corpus(config, tmp_path / "out", overwrite=True)
    assert before.items() <= folder_content(tmp_path).items()


def test_a_corpus_cannot_stand_below_a_file(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", texts(0, 30))
    with pytest.raises(CorpusError, match=r"a\.jsonl is a file; a corpus cannot stand below it"):
        build_corpus(config_of(tmp_path, a=["a.jsonl"]), tmp_path / "a.jsonl" / "new" / "out")


def test_a_disk_that_is_full_leaves_nothing(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", texts(0, 30, 10_000))
    config = config_of(tmp_path, a=["a.jsonl"])
    before = names_in(tmp_path)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))  # a write beyond it fails like one to a full disk
    try:
        with pytest.raises(CorpusError, match="out cannot be written: File too large"):
            build_corpus(config, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert names_in(tmp_path) == before


def test_a_corpus_is_replaced_only_when_asked_and_only_by_a_whole_one(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", texts(0, 30))
    config = config_of(tmp_path, a=["a.jsonl"])
    old = build_corpus(config, tmp_path / "out").corpus_hash
    with pytest.raises(CorpusError, match="holds a corpus already; name another folder or say --overwrite"):
        build_corpus(config, tmp_path / "out")

    (tmp_path / "a.jsonl").write_text("no json")
    with pytest.raises(CorpusError, match="line 1: not JSON"):
        build_corpus(config, tmp_path / "out", overwrite=True)
    assert Corpus.open(tmp_path / "out", verify=True).corpus_hash == old

    write_jsonl(tmp_path / "a.jsonl", texts(1, 30))
    new = build_corpus(config, tmp_path / "out", overwrite=True).corpus_hash
    assert Corpus.open(tmp_path / "out", verify=True).corpus_hash == new != old
    assert names_in(tmp_path) == ["a.jsonl", "corpus.yaml", "out"]


def test_progress_counts_every_byte_of_the_files(tmp_path: Path) -> None:
    sizes = [write_jsonl(tmp_path / f"{n}.jsonl", texts(n, 30, 70_000)).stat().st_size for n in range(2)]
    seen: list[BuildProgress] = []
    build_corpus(config_of(tmp_path, a=["0.jsonl"], b=["1.jsonl"]), tmp_path / "out", on_progress=seen.append)
    done = [at.read_bytes for at in seen]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, sum(sizes))
    assert {at.total_bytes for at in seen} == {sum(sizes)}
    assert max(np.diff(done)) < 2 << 20
    assert [at.domain for at in seen] == sorted(at.domain for at in seen)


def test_memory_does_not_grow_with_the_text(tmp_path: Path) -> None:
    with (tmp_path / "a.jsonl").open("w") as file:
        for number in range(160):
            file.write(json.dumps({"text": f"{number} " + "word " * 30_000}) + "\n")
    config = config_of(tmp_path, a=["a.jsonl"])
    tracemalloc.start()
    try:
        manifest = build_corpus(config, tmp_path / "out")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(split.bytes for split in manifest.domains[0].splits) > 24e6
    # Two token buffers of 1 MiB, each up to two times while it grows, and one document of 150 kB a few times over.
    assert peak < 6 << 20
