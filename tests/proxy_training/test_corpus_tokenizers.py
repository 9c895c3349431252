"""Tokenisers lose nothing, are the same every time, and belong to their corpus by checksum."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy_training import json_tokenizer
from proxy_training.bpe import train_bpe
from proxy_training.corpus_build import build_corpus
from proxy_training.corpus_config import read_config
from proxy_training.corpus_read import Corpus
from proxy_training.domain_build import first_train_hash
from proxy_training.domain_files import find_domains
from proxy_training.encoded import digest_of
from proxy_training.errors import CorpusError
from proxy_training.json_tokenizer import JsonTokenizer
from proxy_training.tokenizer import token_dtype
from proxy_training.training_sample import training_sample
from tests.proxy_training.corpus_files import write_tokenizer
from tests.proxy_training.text_corpora import make_corpus, names_in, texts, train_tokens_of, write_config, write_jsonl

BPE = {"bpe": {"vocab_size": 300, "sample_bytes": 5000}}


@pytest.fixture(scope="module")
def trained() -> JsonTokenizer:
    return train_bpe(iter(texts(0, 40)), 300)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    made = {"a": texts(0, 40), "b": texts(2, 40)}
    return make_corpus(tmp_path_factory.mktemp("bpe"), made, validation_fraction=0.3, tokenizer=BPE)


@settings(max_examples=60, deadline=None)
@given(text=st.text())
def test_a_trained_bpe_writes_every_text_and_loses_nothing(text: str) -> None:
    made = _byte_level()
    assert made.decode(made.encode(text.encode())) == text


def test_a_bpe_without_merges_is_the_bytes(trained: JsonTokenizer) -> None:
    # No pair occurs twice in these texts, so that there is nothing to merge: token numbers are those of the alphabet.
    nothing = train_bpe(iter(["ab", "cd"]), 257)
    assert [len(nothing.encode(bytes([byte]))) for byte in range(128)] == [1] * 128
    assert trained.vocab_size == 300
    assert nothing.vocab_size <= 257


def test_the_first_merge_is_the_commonest_pair() -> None:
    made = train_bpe(iter(["xyxyxy", "xyz", "zq"]), 257)
    (merged,) = made.encode(b"xy").tolist()
    assert merged == 256
    assert len(made.encode(b"zq")) == 2


def test_a_small_vocabulary_means_few_bytes_a_token_and_small_numbers(corpus: Corpus) -> None:
    assert corpus.vocab_size == 300
    assert train_tokens_of(corpus, "a").dtype == np.uint16
    assert 1 < corpus.bytes_per_token("a") < 4
    split = corpus.manifest.domains[1]
    assert split.train.bytes + split.validation.bytes == sum(len(text.encode()) for text in texts(2, 40))


def test_the_tokens_of_a_corpus_are_its_text(corpus: Corpus) -> None:
    tokenizer = JsonTokenizer((corpus.folder / "tokenizer.json").read_bytes())
    found = [tokenizer.decode(document) for document in corpus.validation_documents("b")]
    assert set(found) < set(texts(2, 40))
    assert [len(text.encode()) for text in found] == corpus.validation_documents("b").byte_counts.tolist()
    assert tokenizer.decode(train_tokens_of(corpus, "a")[:50]) in "".join(texts(0, 40))


def test_the_same_text_gives_the_same_tokeniser_and_other_text_another(corpus: Corpus, tmp_path: Path) -> None:
    made = {"a": texts(0, 40), "b": texts(2, 40)}
    again = make_corpus(tmp_path / "again", made, validation_fraction=0.3, tokenizer=BPE)
    assert again.corpus_hash == corpus.corpus_hash
    other = make_corpus(tmp_path / "other", made, validation_fraction=0.3, tokenizer={"bpe": {"vocab_size": 299}})
    assert other.corpus_hash != corpus.corpus_hash


def test_the_sample_takes_the_same_of_every_domain_from_all_its_files_and_nothing_for_validation(
    tmp_path: Path,
) -> None:
    document = 300  # bytes
    write_jsonl(tmp_path / "a0.jsonl", texts(0, 300))
    write_jsonl(tmp_path / "a1.jsonl", texts(4, 100))
    write_jsonl(tmp_path / "b.jsonl", texts(1, 80))
    write_jsonl(tmp_path / "c.jsonl", texts(3, 20))
    files = {"a": ["a0.jsonl", "a1.jsonl"], "b": ["b.jsonl"], "c": ["c.jsonl"]}
    config = read_config(write_config(tmp_path, files, validation_fraction=0.3))
    split = first_train_hash(0.3)
    sampled = list(training_sample(find_domains(config), split, 3 * 40 * document))
    count = {name: len({*sampled} & {*made}) for name, made in
             {"a0": texts(0, 300), "a1": texts(4, 100), "b": texts(1, 80), "c": texts(3, 20)}.items()}  # fmt: skip
    assert (count["a0"], count["a1"], count["b"]) == (30, 10, 40)
    assert count["c"] == sum(digest_of(text.encode()) >= split for text in texts(3, 20)) < 20  # all that it has
    assert all(digest_of(text.encode()) >= split for text in sampled)


def test_a_file_is_copied_into_the_corpus_and_its_settings_for_models_are_left_aside(tmp_path: Path) -> None:
    made = texts(0, 40)
    write_tokenizer(tmp_path / "t.json", made, marks=["<s>"])
    content = json.loads((tmp_path / "t.json").read_text())
    content["truncation"] = {"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0}
    content["padding"] = {
        "strategy": {"Fixed": 999}, "direction": "Right", "pad_to_multiple_of": None,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "<s>",
    }  # fmt: skip
    template = [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    mark = content["added_tokens"][0]["id"]
    content["post_processor"] = {
        "type": "TemplateProcessing", "single": template, "pair": template,
        "special_tokens": {"<s>": {"id": "<s>", "ids": [mark], "tokens": ["<s>"]}},
    }  # fmt: skip
    (tmp_path / "t.json").write_text(json.dumps(content))
    corpus = make_corpus(tmp_path, {"a": made}, validation_fraction=0.3, tokenizer={"file": "t.json"})
    assert (corpus.folder / "tokenizer.json").read_bytes() == (tmp_path / "t.json").read_bytes()
    tokenizer = JsonTokenizer((corpus.folder / "tokenizer.json").read_bytes())
    assert {tokenizer.decode(document) for document in corpus.validation_documents("a")} < set(made)
    assert mark not in train_tokens_of(corpus, "a")


def test_a_corpus_whose_tokeniser_was_exchanged_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(corpus.folder, tmp_path / "corpus"))
    write_tokenizer(folder / "tokenizer.json", texts(1, 40))
    with pytest.raises(CorpusError, match=r"tokenizer\.json is another tokeniser than the corpus was built with"):
        Corpus.open(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CorpusError, match=r"tokenizer\.json is missing; build the corpus again"):
        Corpus.open(folder)


def test_verifying_names_every_damaged_shard_and_one_of_another_tokeniser(corpus: Corpus, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(corpus.folder, tmp_path / "corpus"))
    foreign = np.fromfile(folder / "000-a.train.tokens", "<u2")
    foreign[7] = 40_000
    foreign.tofile(folder / "000-a.train.tokens")
    with (folder / "001-b.train.tokens").open("r+b") as shard:
        shard.write(b"\0\0")
    with (folder / "001-b.validation.tokens").open("r+b") as shard:
        shard.truncate(8)
    with pytest.raises(CorpusError) as caught:
        Corpus.open(folder, verify=True)
    first, second, third, advice = str(caught.value).split("; ")
    assert first.endswith("000-a.train.tokens is of another tokeniser: it holds token 40000 of a vocabulary of 300")
    assert "001-b.train.tokens was changed" in second
    assert "001-b.validation.tokens has 8 bytes where the manifest means" in third
    assert advice == "build the corpus again"


@pytest.mark.parametrize("size", [2, 256, 257, 65536, 65537, 2**32])
def test_tokens_are_stored_in_the_smallest_type_that_holds_them(size: int) -> None:
    dtype = token_dtype(size)
    assert np.iinfo(dtype).max >= size - 1
    assert dtype.itemsize == 1 or size - 1 > np.iinfo(f"<u{dtype.itemsize // 2}").max


def test_a_vocabulary_that_no_type_holds_is_refused() -> None:
    with pytest.raises(CorpusError, match="a vocabulary of 4294967297 tokens cannot be stored"):
        token_dtype(2**32 + 1)


def test_gaps_in_the_numbers_of_tokens_count(tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "t.json", texts(0, 5))
    content = json.loads((tmp_path / "t.json").read_text())
    content["model"]["vocab"]["far away"] = 70_000
    made = JsonTokenizer(json.dumps(content).encode())
    assert (made.vocab_size, made.dtype) == (70_001, np.dtype("<u4"))


def test_a_long_document_goes_through_in_parts_and_keeps_its_text(
    trained: JsonTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "\n".join(texts(0, 20))
    whole = trained.encode(lines.encode())
    monkeypatch.setattr(json_tokenizer, "_PART_BYTES", 700)
    assert trained.encode(lines.encode()).tolist() == whole.tolist()  # a word never goes on over the end of a line
    for text in ("a b " * 1000, "é" * 1000, "\n" * 2000, lines + "\n"):
        assert trained.decode(trained.encode(text.encode())) == text


def test_a_tokeniser_goes_to_a_worker_process_whole(trained: JsonTokenizer) -> None:
    copy = pickle.loads(pickle.dumps(trained))
    assert copy.encode("abc αβγ".encode()).tolist() == trained.encode("abc αβγ".encode()).tolist()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "t.json is no tokenizer.json that can be read"),
        (b"{}", "t.json is no tokenizer.json that can be read"),
        (b"\xff", "t.json is no tokenizer.json that can be read"),
        (b'{"model": {"type": "BPE", "vocab": {}, "merges": []}}', "t.json has a vocabulary of 0 tokens"),
        (b'{"model": {"type": "BPE", "vocab": {"a": 5000000000}, "merges": []}}', "t.json is no tok.*expected u32"),
        (
            b'{"model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1}, "unk_token": "?"}}',
            "the tokeniser cannot cut a document into tokens: .*UNK",
        ),
    ],
)
def test_a_tokeniser_file_that_cannot_be_used_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    write_jsonl(tmp_path / "a.jsonl", texts(0, 30))
    (tmp_path / "t.json").write_bytes(content)
    config = read_config(write_config(tmp_path, {"a": ["a.jsonl"]}, tokenizer={"file": "t.json"}))
    before = names_in(tmp_path)
    with pytest.raises(CorpusError, match=sentence):
        build_corpus(config, tmp_path / "out")
    assert names_in(tmp_path) == before


def test_a_bpe_needs_text_to_be_trained_on(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [])
    config = read_config(write_config(tmp_path, {"a": ["a.jsonl"]}, tokenizer=BPE))
    with pytest.raises(CorpusError, match="the tokeniser cannot be trained: none of the domains has a training doc"):
        build_corpus(config, tmp_path / "out")


def _byte_level(made: list[JsonTokenizer] = []) -> JsonTokenizer:  # noqa: B006  made once for all examples
    if not made:
        made.append(train_bpe(iter(texts(2, 40)), 300))
    return made[0]
