"""The data of a run: exact weights, common random numbers, every window once an epoch."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy_training import sampler as sampler_module
from proxy_training.corpus_read import Corpus
from proxy_training.errors import SpecError
from proxy_training.sampler import SequenceSampler
from proxy_training.spec import ModelSpec, ProxySpec
from tests.proxy_training.text_corpora import make_corpus, proxy_spec, texts

CONTEXT = 16
NAMES = ("latin", "more latin", "greek")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("sampler")
    documents = {name: texts(seed, 12 + 9 * seed) for seed, name in enumerate(NAMES)}
    return make_corpus(folder, documents, validation_fraction=0.3, context=CONTEXT)


def by_domain(corpus: Corpus, sampler: SequenceSampler) -> dict[str, list[bytes]]:
    """The sequences of every domain in the order in which the run saw them, told apart by their alphabets."""
    texts_of = {name: corpus.train_array(name).tobytes() for name in corpus.domains}
    seen: dict[str, list[bytes]] = defaultdict(list)
    for step in range(sampler.steps):
        for row in sampler.batch(step):
            sequence = row.astype(np.uint8).tobytes()
            seen[next(name for name, text in texts_of.items() if sequence in text)].append(sequence)
    return seen


@st.composite
def mixtures(draw: st.DrawFn) -> dict[str, float]:
    values = np.array(draw(st.lists(st.floats(0.02, 1), min_size=3, max_size=3)))
    return dict(zip(NAMES, (values / values.sum()).tolist(), strict=True))


@given(one=mixtures(), other=mixtures(), batch=st.sampled_from([1, 3, 4, 16]))
@settings(max_examples=15, deadline=None)
def test_the_nth_sequence_of_a_domain_is_the_same_in_every_mixture(
    corpus: Corpus, one: dict[str, float], other: dict[str, float], batch: int
) -> None:
    first = by_domain(corpus, SequenceSampler(corpus, proxy_spec(corpus, (4096, one))))
    second = by_domain(corpus, SequenceSampler(corpus, proxy_spec(corpus, (6000, other), batch=batch)))
    for name in NAMES:
        common = min(len(first[name]), len(second[name]))
        assert first[name][:common] == second[name][:common]


def test_seeds_give_different_orders(corpus: Corpus) -> None:
    runs = [
        by_domain(corpus, SequenceSampler(corpus, proxy_spec(corpus, (2048, {"greek": 1}), seed=s))) for s in (0, 1)
    ]
    assert runs[0]["greek"] != runs[1]["greek"]


def test_an_epoch_shows_every_window_once_and_the_next_one_in_another_order(corpus: Corpus) -> None:
    tokens = corpus.train_array("latin")
    windows = (len(tokens) - 1) // CONTEXT
    cut = {tokens[i * CONTEXT : (i + 1) * CONTEXT + 1].tobytes() for i in range(windows)}
    run = SequenceSampler(corpus, proxy_spec(corpus, (2 * windows * CONTEXT, {"latin": 1}), batch=1))
    seen = by_domain(corpus, run)["latin"]
    assert set(seen[:windows]) == cut == set(seen[windows:])
    assert seen[:windows] != seen[windows:]
    assert run.epochs(run.steps) == {"latin": 2.0}


def test_labels_are_the_text_that_follows(corpus: Corpus) -> None:
    run = SequenceSampler(corpus, proxy_spec(corpus, (1024, {"greek": 1})))
    batch = run.batch(3)
    assert batch.shape == (4, CONTEXT + 1)
    assert batch.dtype == np.int64
    text = corpus.train_array("greek").tobytes()
    for row in batch:
        assert row.astype(np.uint8).tobytes() in text


@given(mixture=mixtures(), steps=st.integers(1, 64))
@settings(max_examples=20, deadline=None)
def test_realised_weights_and_epochs_are_those_of_the_batches(
    corpus: Corpus, mixture: dict[str, float], steps: int
) -> None:
    run = SequenceSampler(corpus, proxy_spec(corpus, (4096, mixture)))
    weights, epochs = run.realised_weights(steps), run.epochs(steps)
    run.steps = steps  # look at the first steps only
    counts = {name: len(rows) for name, rows in by_domain(corpus, run).items()}
    for name in NAMES:
        count = counts.get(name, 0)
        assert weights[name] == pytest.approx(count / (4 * steps))
        assert epochs[name] == pytest.approx(count / ((corpus.train_tokens(name) - 1) // CONTEXT))
        assert abs(count - mixture[name] * 4 * steps) < 1


def test_steps_can_be_asked_for_in_any_order(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = proxy_spec(corpus, (2000, {"latin": 0.6, "greek": 0.4}), (4144, {"more latin": 0.9, "greek": 0.1}))
    straight = SequenceSampler(corpus, spec)
    expected = [straight.batch(step) for step in range(straight.steps)]
    monkeypatch.setattr(sampler_module, "_BLOCK_SEQUENCES", 20)  # five steps a block, of 96
    jumping = SequenceSampler(corpus, spec)
    for step in np.random.default_rng(0).permutation(straight.steps).tolist():
        assert (jumping.batch(step) == expected[step]).all()
        assert jumping.realised_weights(step + 1) == straight.realised_weights(step + 1)


def test_tokens_beyond_the_last_whole_step_are_left_out(corpus: Corpus) -> None:
    run = SequenceSampler(corpus, proxy_spec(corpus, (10 * 4 * CONTEXT + 63, {"latin": 1})))
    assert run.steps == 10
    with pytest.raises(IndexError, match=r"0 \.\. 9"):
        run.batch(10)


def test_a_weight_for_a_domain_that_the_corpus_lacks_is_refused(corpus: Corpus) -> None:
    spec = proxy_spec(corpus, (1024, {"latin": 0.5, "klingon": 0.5}))
    with pytest.raises(SpecError, match="'klingon'; the corpus has latin, more latin, greek"):
        SequenceSampler(corpus, spec)


def test_a_weight_of_zero_asks_for_nothing(corpus: Corpus) -> None:
    run = SequenceSampler(corpus, proxy_spec(corpus, (1024, {"latin": 1.0, "klingon": 0.0})))
    assert run.realised_weights(run.steps) == {"latin": 1.0}


def test_a_spec_for_another_corpus_is_refused(corpus: Corpus) -> None:
    spec = proxy_spec(corpus, (1024, {"latin": 1}))
    settings = spec.settings.model_copy(update={"corpus_hash": "0" * 64})
    with pytest.raises(SpecError, match="the run is for the corpus 0000"):
        SequenceSampler(corpus, ProxySpec(settings=settings, stages=spec.stages))


def test_a_model_with_fewer_tokens_than_the_corpus_is_refused(corpus: Corpus) -> None:
    spec = proxy_spec(corpus, (1024, {"latin": 1}))
    settings = spec.settings.model_copy(update={"model": ModelSpec(context=CONTEXT, vocab_size=128)})
    with pytest.raises(SpecError, match="128 tokens; the corpus needs 256"):
        SequenceSampler(corpus, ProxySpec(settings=settings, stages=spec.stages))


def test_a_domain_shorter_than_one_sequence_is_refused(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, {"short": texts(0, 8, characters=40)}, validation_fraction=0.5, context=16)
    spec = proxy_spec(corpus, (4096, {"short": 1}))
    settings = spec.settings.model_copy(update={"model": ModelSpec(context=512)})
    with pytest.raises(SpecError, match="one sequence of context 512 needs 513"):
        SequenceSampler(corpus, ProxySpec(settings=settings, stages=spec.stages))
