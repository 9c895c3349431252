"""Losses in bits per byte against a loop over documents, and their standard error against its formula."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from proxy_training.corpus_read import Corpus
from proxy_training.errors import CorpusError
from proxy_training.evaluate import ValidationSet, evaluate
from proxy_training.model import StackedDecoder
from proxy_training.spec import Measured
from tests.proxy_training.text_corpora import make_corpus, texts, train_tokens_of
from tests.proxy_training.training_cases import TINY

ALL = 10_000


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder: Path = tmp_path_factory.mktemp("evaluate")
    long = texts(0, 20, characters=90)
    short = [text[: 2 + place % 30] for place, text in enumerate(texts(1, 40, characters=60))]
    return make_corpus(folder, {"long": long, "short": short}, context=16, validation_fraction=0.3)


@pytest.fixture(scope="module")
def decoder() -> StackedDecoder:
    return StackedDecoder(TINY)


def losses_of(decoder: StackedDecoder, validation: ValidationSet, seeds: Sequence[int]) -> list[dict[str, Measured]]:
    found = evaluate(decoder, decoder.layout.initial(seeds), validation)
    return [losses for losses in found if losses is not None]


def document_bits(decoder: StackedDecoder, text: np.ndarray, seed: int) -> float:
    """Bits of all tokens of one document but the first, window by window."""
    flat, bits = decoder.layout.initial([seed]), 0.0
    for start in range(0, len(text) - 1, TINY.context):
        window = torch.from_numpy(text[start : start + TINY.context + 1].astype(np.int64))
        bits += decoder.losses(flat, window[None, None, :-1], window[None, None, 1:]).sum().item() / math.log(2)
    return bits


def test_a_loss_is_all_bits_over_all_bytes(corpus: Corpus, decoder: StackedDecoder) -> None:
    stacked = losses_of(decoder, ValidationSet.of(corpus, TINY.context, ALL), [3, 4])
    for seed, losses in zip([3, 4], stacked, strict=True):
        for name in corpus.domains:
            documents = [text for text in corpus.validation_documents(name) if len(text) > 1]
            bits = np.array([document_bits(decoder, text, seed) for text in documents])
            text_bytes = np.array([len(text) - 1 for text in documents])
            value = bits.sum() / text_bytes.sum()
            n = len(documents)
            stderr = math.sqrt(n / (n - 1) * ((bits - value * text_bytes) ** 2).sum()) / text_bytes.sum()
            assert losses[name].value == pytest.approx(value, rel=1e-5)
            assert losses[name].stderr == pytest.approx(stderr, rel=1e-3)
            assert losses[name].nats_per_token == pytest.approx(value * math.log(2), rel=1e-5)  # a byte is a token
            assert losses[name].nats_per_token_stderr == pytest.approx(stderr * math.log(2), rel=1e-3)


class Documents(list[np.ndarray]):
    """Validation documents that lie in no file."""

    def __init__(self, documents: Iterable[np.ndarray], byte_counts: Iterable[int]) -> None:
        super().__init__(documents)
        self.token_counts = np.array([len(text) for text in self])
        self.byte_counts = np.array(list(byte_counts))


def test_bytes_are_counted_and_not_tokens(corpus: Corpus, decoder: StackedDecoder) -> None:
    class TwoBytesAToken:
        """The corpus, had every token stood for two bytes."""

        domains, vocab_size = corpus.domains, corpus.vocab_size

        @staticmethod
        def validation_documents(domain: str) -> Documents:
            documents = corpus.validation_documents(domain)
            return Documents(documents, 2 * documents.byte_counts)

    as_it_is = losses_of(decoder, ValidationSet.of(corpus, TINY.context, ALL), [0])[0]
    doubled = losses_of(decoder, ValidationSet.of(TwoBytesAToken(), TINY.context, ALL), [0])[0]  # type: ignore[arg-type]
    for name in corpus.domains:
        assert doubled[name].value == pytest.approx(as_it_is[name].value / 2)
        assert doubled[name].nats_per_token == as_it_is[name].nats_per_token


class GivesEveryTokenItsNumber:
    """A decoder whose loss on a token is the token's number, in nats."""

    spec = TINY

    @staticmethod
    def losses(flat: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
        del inputs
        return labels.clamp(min=0).to(flat.dtype)


class Written:
    """A corpus of these documents, each with so many bytes."""

    domains, vocab_size = ("a",), 1000

    def __init__(self, documents: Sequence[Sequence[int]], text_bytes: Sequence[int]) -> None:
        self._documents = Documents([np.array(text) for text in documents], text_bytes)

    def validation_documents(self, domain: str) -> Documents:
        assert domain == "a"
        return self._documents


def measured_by_hand(corpus: Written) -> Measured:
    (losses,) = evaluate(GivesEveryTokenItsNumber(), torch.zeros(1, 1), ValidationSet.of(corpus, 16, ALL))  # type: ignore[arg-type]
    assert losses is not None
    return losses["a"]


def test_both_units_and_their_standard_errors_worked_out_by_hand() -> None:
    # 3 and 2 predicted tokens of 4 and 3, with 6 and 5 nats; 8 and 9 bytes, of which 6 and 6 are predicted.
    measured = measured_by_hand(Written([[9, 1, 2, 3], [9, 1, 4]], [8, 9]))
    assert measured.nats_per_token == pytest.approx(11 / 5)
    assert measured.value == pytest.approx(11 / 12 / math.log(2))
    # Residuals 6 - 3 * 2.2 and 5 - 2 * 2.2 are -.6 and .6; 6 - 6 * 11/12 and 5 - 6 * 11/12 are .5 and -.5.
    assert measured.nats_per_token_stderr == pytest.approx(math.sqrt(2 / 1 * 2 * 0.36) / 5)
    assert measured.stderr == pytest.approx(math.sqrt(2 / 1 * 2 * 0.25) / 12 / math.log(2))


def test_the_standard_errors_are_those_of_a_bootstrap_over_documents() -> None:
    rng = np.random.default_rng(0)
    documents = [rng.poisson(rng.gamma(9, 1), size=rng.integers(5, 80)).tolist() for _ in range(120)]
    text_bytes = [int(len(text) * rng.uniform(1, 4)) + 1 for text in documents]
    measured = measured_by_hand(Written(documents, text_bytes))
    nats = np.array([sum(text[1:]) for text in documents])
    tokens = np.array([len(text) - 1 for text in documents])
    predicted_bytes = np.array(text_bytes) * tokens / (tokens + 1)
    draws = rng.integers(0, 120, size=(4000, 120))
    per_token = nats[draws].sum(1) / tokens[draws].sum(1)
    per_byte = nats[draws].sum(1) / predicted_bytes[draws].sum(1) / math.log(2)
    # 4000 draws tell a standard deviation to 1.1 %; the linearisation is good to about 1 / 120.
    assert measured.nats_per_token_stderr == pytest.approx(per_token.std(), rel=0.05)
    assert measured.stderr == pytest.approx(per_byte.std(), rel=0.05)


def test_a_token_beyond_the_vocabulary_is_an_error_of_the_corpus() -> None:
    corpus = Written([[9, 1000, 2, 3]], [8])
    corpus.folder = Path("somewhere")  # type: ignore[attr-defined]
    with pytest.raises(CorpusError, match="somewhere holds the token 1000, beyond its vocabulary of 1000"):
        ValidationSet.of(corpus, 16, ALL)  # type: ignore[arg-type]


def test_no_document_that_is_measured_was_ever_trained_on(tmp_path: Path) -> None:
    # Copies within a domain and in another one: a copy must not slip from the one side to the other.
    first, second = texts(0, 60), texts(1, 60)
    domains = {"a": first + first[:30] + second[:10], "b": second + first[20:50] + second}
    corpus = make_corpus(tmp_path, domains, context=16, validation_fraction=0.3)
    held_out = {
        hashlib.sha256(text.tobytes()).hexdigest() for name in domains for text in corpus.validation_documents(name)
    }
    trained_on = b"|".join(train_tokens_of(corpus, name).tobytes() for name in domains)
    by_hash = {hashlib.sha256(text.encode()).hexdigest(): text.encode() for text in first + second}
    assert 20 < len(held_out) < 50
    assert held_out < by_hash.keys()
    for digest, text in by_hash.items():
        assert (text in trained_on) == (digest not in held_out)


def test_the_bound_on_windows_is_kept_and_spread_over_documents(corpus: Corpus) -> None:
    validation = ValidationSet.of(corpus, TINY.context, 5)
    for at, name in enumerate(corpus.domains):
        mine = validation.domain[validation.document] == at
        assert mine.sum() == 5
        # 5 windows at equal distances in far more than 5 documents of at most 6 windows each
        assert len(set(validation.document[mine])) >= min(4, len(corpus.validation_documents(name)))


def test_a_sample_of_windows_estimates_the_loss_of_all(corpus: Corpus, decoder: StackedDecoder) -> None:
    everything = losses_of(decoder, ValidationSet.of(corpus, TINY.context, ALL), [0])[0]["long"]
    sample = losses_of(decoder, ValidationSet.of(corpus, TINY.context, 12), [0])[0]["long"]
    assert sample.stderr is not None
    # Both are fixed by the seeds; 4 standard errors would be passed by chance in 1 of 15,000 draws.
    assert abs(sample.value - everything.value) < 4 * sample.stderr


def test_one_document_has_no_standard_error(tmp_path: Path, decoder: StackedDecoder) -> None:
    corpus = make_corpus(tmp_path, {"a": texts(0, 30)}, context=16, validation_fraction=0.2)

    class OneDocument:
        domains, vocab_size = corpus.domains, corpus.vocab_size

        @staticmethod
        def validation_documents(domain: str) -> Documents:
            documents = corpus.validation_documents(domain)
            return Documents([documents[0]], documents.byte_counts[:1])

    measured = losses_of(decoder, ValidationSet.of(OneDocument(), TINY.context, ALL), [0])[0]["a"]  # type: ignore[arg-type]
    assert measured.stderr is None
    assert measured.value > 0


def test_a_proxy_that_is_not_finite_has_no_loss_and_spares_the_others(corpus: Corpus, decoder: StackedDecoder) -> None:
    validation = ValidationSet.of(corpus, TINY.context, 8)
    flat = decoder.layout.initial([0, 1])
    healthy = evaluate(decoder, flat, validation)
    flat[0, 7] = float("nan")
    broken = evaluate(decoder, flat, validation)
    assert broken == [None, healthy[1]]


def test_documents_of_one_token_cannot_be_measured(tmp_path: Path) -> None:
    class Crumbs:
        domains, vocab_size = ("crumbs",), 256

        @staticmethod
        def validation_documents(domain: str) -> Documents:
            return {"crumbs": Documents([np.array([65], dtype=np.uint8)], [1])}[domain]

    with pytest.raises(CorpusError, match="'crumbs' has no validation document of two tokens"):
        ValidationSet.of(Crumbs(), TINY.context, ALL)  # type: ignore[arg-type]
