"""The data of a run: exact weights, common random numbers, every window once an epoch."""

from __future__ import annotations

import os
from collections import defaultdict
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy_training import sampler as sampler_module
from proxy_training.corpus_read import Corpus
from proxy_training.errors import CorpusError, SpecError
from proxy_training.sampler import SequenceSampler, WeightChange
from proxy_training.spec import ModelSpec, ProxySpec
from tests.proxy_training.text_corpora import make_corpus, proxy_spec, texts, train_tokens_of

CONTEXT = 16
NAMES = ("latin", "more latin", "greek")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("sampler")
    documents = {name: texts(seed, 12 + 9 * seed) for seed, name in enumerate(NAMES)}
    return make_corpus(folder, documents, validation_fraction=0.3, context=CONTEXT)


def by_domain(corpus: Corpus, sampler: SequenceSampler) -> dict[str, list[bytes]]:
    """The sequences of every domain in the order in which the run saw them, told apart by their alphabets."""
    texts_of = {name: train_tokens_of(corpus, name).tobytes() for name in corpus.domains}
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


def independent(spec: ProxySpec) -> ProxySpec:
    settings = spec.settings.model_copy(update={"random_numbers": "independent"})
    return ProxySpec(settings=settings, stages=spec.stages, seed=spec.seed)


def test_independent_runs_share_no_order_whatever_their_seeds(corpus: Corpus) -> None:
    specs = [
        proxy_spec(corpus, (4096, {"greek": p, "latin": 1 - p}), seed=s) for p, s in [(0.5, 0), (0.6, 0), (0.5, 1)]
    ]
    orders = [by_domain(corpus, SequenceSampler(corpus, independent(spec))) for spec in specs]
    for one, other in combinations(orders, 2):
        for name in ("greek", "latin"):
            pairs = list(zip(one[name], other[name], strict=False))
            windows = (corpus.train_tokens(name) - 1) // CONTEXT
            # Two unrelated orders agree at a place with probability 1 / windows: 10 or more of 150 at 1 / 200 is 1e-8.
            assert len(pairs) > 80
            assert windows > 100
            assert sum(a == b for a, b in pairs) < 10


def test_independent_runs_that_are_equal_draw_equally(corpus: Corpus) -> None:
    spec = independent(proxy_spec(corpus, (1024, {"greek": 0.5, "latin": 0.5})))
    assert (SequenceSampler(corpus, spec).batch(3) == SequenceSampler(corpus, spec).batch(3)).all()


def test_independent_runs_have_the_schedule_of_common_ones(corpus: Corpus) -> None:
    spec = proxy_spec(corpus, (4096, {"greek": 0.37, "latin": 0.63}))
    common, alone = SequenceSampler(corpus, spec), SequenceSampler(corpus, independent(spec))
    for steps in range(1, common.steps + 1):
        assert common.realised_weights(steps) == alone.realised_weights(steps)


def changed(corpus: Corpus, *changes: WeightChange, spec: ProxySpec | None = None) -> SequenceSampler:
    sampler = SequenceSampler(corpus, spec or proxy_spec(corpus, (4096, {"latin": 0.7, "more latin": 0.3})))
    for change in changes:
        sampler.change_weights(change.from_step, change.weights)
    return sampler


def test_changed_weights_take_hold_at_their_step_and_leave_the_steps_before_it_alone(corpus: Corpus) -> None:
    as_planned, steered = changed(corpus), changed(corpus, WeightChange(from_step=20, weights={"greek": 1.0}))
    for step in range(20):
        assert (as_planned.batch(step) == steered.batch(step)).all()
    assert steered.realised_weights(20) == as_planned.realised_weights(20) | {"greek": 0.0}
    seen = by_domain(corpus, steered)
    # 80 sequences, 56 and 24 of them asked of the others, who are owed less than one each; then all for the third.
    assert abs(len(seen["latin"]) - 56) <= 1
    assert abs(len(seen["more latin"]) - 24) <= 1
    whole = by_domain(corpus, SequenceSampler(corpus, proxy_spec(corpus, (4096, {"greek": 1.0}))))
    assert seen["greek"] == whole["greek"][: len(seen["greek"])]  # its sequences are those of every other run


def test_changes_made_again_give_the_same_batches_wherever_one_starts(corpus: Corpus) -> None:
    changes = [
        WeightChange(from_step=7, weights={"latin": 0.2, "greek": 0.8}),
        WeightChange(from_step=7, weights={"latin": 0.5, "greek": 0.5}),
        WeightChange(from_step=30, weights={"more latin": 1.0}),
    ]
    live, seen = changed(corpus), []
    for step in range(live.steps):  # each change is made when its step has come
        for change in changes:
            if change.from_step == step:
                live.change_weights(change.from_step, change.weights)
        seen.append(live.batch(step))
    again = changed(corpus, *changes)
    for step in (63, 29, 30, 7, 6, 0):
        assert (again.batch(step) == seen[step]).all()
    assert again.stages == live.stages
    step_tokens = 4 * CONTEXT
    spans = [(stage.from_token // step_tokens, stage.to_token // step_tokens) for stage in live.stages]
    assert spans == [(0, 7), (7, 30), (30, 64)]
    assert live.stages[1].weights == changes[1].weights


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ((3, {"latin": 1.0}), "from step 3 on; steps 5 .. 63 may"),
        ((64, {"latin": 1.0}), "from step 64 on"),
        ((9, {"klingon": 1.0}), "'klingon'; the corpus has"),
        ((9, {"latin": 0.9}), "sum to 0.9"),
        ((9, {"latin": float("nan"), "greek": 1.0}), "of 'latin' are no mixture: Input should be a finite number"),
        ((9, {"latin": 1.5, "greek": -0.5}), "weights of 'greek' are no mixture"),
    ],
)
def test_weights_that_cannot_be_are_refused_and_nothing_changes(
    change: tuple[int, dict[str, float]], reason: str, corpus: Corpus
) -> None:
    sampler = changed(corpus, WeightChange(from_step=5, weights={"greek": 1.0}))
    before = [sampler.batch(step) for step in range(sampler.steps)]
    with pytest.raises(SpecError, match=reason):
        sampler.change_weights(*change)
    assert all((sampler.batch(step) == rows).all() for step, rows in enumerate(before))


@pytest.mark.parametrize(
    ("in_use", "reason"),
    [(True, r"was cut short while it was in use, from \d+ bytes to 5000; build"), (False, "cannot be read")],
)
def test_a_shard_that_is_damaged_after_the_corpus_was_opened_is_an_error_that_names_it(
    in_use: bool, reason: str, tmp_path: Path
) -> None:
    corpus = make_corpus(tmp_path, {"a": texts(0, 200)}, validation_fraction=0.3, context=CONTEXT)
    sampler = SequenceSampler(corpus, proxy_spec(corpus, (4096, {"a": 1.0})))
    shard = corpus.folder / corpus.manifest.domains[0].train.shard.file
    if in_use:
        train_tokens_of(corpus, "a")
        os.truncate(shard, 5000)
    else:
        shard.unlink()
    with pytest.raises(CorpusError, match=f"{shard.name} {reason}"):
        sampler.batch(0)


def test_a_token_beyond_the_vocabulary_is_an_error_of_the_corpus(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, {"a": texts(0, 40)}, validation_fraction=0.3, context=CONTEXT)
    manifest = corpus.manifest.model_copy(update={"vocab_size": 100})
    sampler = SequenceSampler(Corpus(corpus.folder, manifest), proxy_spec(corpus, (4096, {"a": 1.0})))
    with pytest.raises(CorpusError, match="holds the token 104, beyond its vocabulary of 100"):
        sampler.batch(0)


def test_an_epoch_shows_every_window_once_and_the_next_one_in_another_order(corpus: Corpus) -> None:
    tokens = train_tokens_of(corpus, "latin")
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
    text = train_tokens_of(corpus, "greek").tobytes()
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


@pytest.mark.parametrize("block", [20, 1024])
@given(first=mixtures(), second=mixtures(), tokens=st.integers(1, 4000))
@settings(max_examples=10, deadline=None)
def test_realised_stages_are_those_of_the_batches(
    corpus: Corpus, block: int, first: dict[str, float], second: dict[str, float], tokens: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampler_module, "_BLOCK_SEQUENCES", block)
        run = SequenceSampler(corpus, proxy_spec(corpus, (tokens, first), (96, second), (4096 - tokens, first)))
    steps = run.steps
    texts_of = {name: train_tokens_of(corpus, name).tobytes() for name in NAMES}
    rows = [row.astype(np.uint8).tobytes() for step in range(steps) for row in run.batch(step)]
    seen = [next(name for name, text in texts_of.items() if row in text) for row in rows]
    stages = run.realised_stages(steps)
    edges = [0, -(-tokens // CONTEXT), -(-(tokens + 96) // CONTEXT), len(seen)]
    spans = [(stage.from_token // CONTEXT, stage.to_token // CONTEXT) for stage in stages]
    assert spans == [(a, b) for a, b in pairwise(edges) if b > a]
    for (a, b), stage in zip(spans, stages, strict=True):
        assert stage.weights == pytest.approx({name: seen[a:b].count(name) / (b - a) for name in NAMES})
    assert run.realised_stages(1)[-1].to_token == 4 * CONTEXT


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
