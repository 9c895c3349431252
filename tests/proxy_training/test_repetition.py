"""Proxies that repeat every domain as often as the run that they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from proxy_training.corpus_read import Corpus
from proxy_training.errors import SpecError
from proxy_training.sampler import SequenceSampler
from proxy_training.spec import ProxySpec, Stage, TargetRun
from tests.proxy_training.text_corpora import make_corpus, texts
from tests.proxy_training.training_cases import tiny_settings

CONTEXT, STEP = 16, 64
NAMES = ("web", "code", "law")
TARGET_TOKENS = 10**12


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder: Path = tmp_path_factory.mktemp("repetition")
    documents = {name: texts(seed, 60) for seed, name in enumerate(NAMES)}
    return make_corpus(folder, documents, validation_fraction=0.2, context=CONTEXT)


def target(**available: float) -> TargetRun:
    return TargetRun(train_tokens=TARGET_TOKENS, available_tokens={name: int(a) for name, a in available.items()})


def matched(
    corpus: Corpus, run: TargetRun | None, *stages: tuple[int, Mapping[str, float]], seed: int = 0
) -> SequenceSampler:
    """The sampler of a run of ``stages`` (steps, weights)."""
    ends = np.cumsum([0, *(steps for steps, _ in stages)]).tolist()
    settings = tiny_settings(corpus, steps=ends[-1], match_repetition=run)
    made = tuple(
        Stage(from_token=first * STEP, to_token=last * STEP, weights=dict(weights))
        for first, last, (_, weights) in zip(ends, ends[1:], stages, strict=False)
    )
    return SequenceSampler(corpus, ProxySpec(settings=settings, stages=made, seed=seed))


MIXTURES = [
    [(200, {"web": 0.6, "code": 0.3, "law": 0.1})],
    [(200, {"web": 0.1, "code": 0.1, "law": 0.8})],
    [(120, {"web": 0.9, "code": 0.1}), (80, {"code": 0.2, "law": 0.8})],
]


@pytest.mark.parametrize("stages", MIXTURES)
def test_epochs_are_those_of_the_target_run_for_any_weights(
    corpus: Corpus, stages: list[tuple[int, dict[str, float]]]
) -> None:
    # 200 steps of 4 sequences: the tokens available to the target run scale to 640, 40 and 16 windows of each domain.
    run = target(web=0.8e12, code=0.05e12, law=0.02e12)
    sampler = matched(corpus, run, *stages)
    kept = {"web": 640, "code": 40, "law": 16}
    epochs = sampler.epochs(200)
    for name, available in run.available_tokens.items():
        weight = sum(steps * weights.get(name, 0.0) for steps, weights in stages) / 200
        if weight:
            assert abs(epochs[name] - weight * TARGET_TOKENS / available) < 1 / kept[name]  # one sequence


@pytest.mark.parametrize("stages", MIXTURES)
def test_without_matching_epochs_are_those_of_the_corpus(
    corpus: Corpus, stages: list[tuple[int, dict[str, float]]]
) -> None:
    epochs = matched(corpus, None, *stages).epochs(200)
    for name in epochs:
        windows = (corpus.train_tokens(name) - 1) // CONTEXT
        weight = sum(steps * weights.get(name, 0.0) for steps, weights in stages) / 200
        assert abs(epochs[name] - weight * 800 / windows) < 1 / windows


def sequences(sampler: SequenceSampler) -> list[bytes]:
    return [row.astype(np.uint8).tobytes() for step in range(sampler.steps) for row in sampler.batch(step)]


def test_only_the_kept_windows_are_seen_and_each_once_an_epoch(corpus: Corpus) -> None:
    sampler = matched(corpus, target(code=0.05e12), (20, {"code": 1.0}))  # 80 sequences from 4 windows
    seen = sequences(sampler)
    assert sampler.epochs(20) == {"code": 20.0}
    assert len(set(seen)) == 4
    assert all(set(seen[first : first + 4]) == set(seen) for first in range(0, 80, 4))


def test_kept_windows_are_the_same_in_every_mixture_and_a_part_of_any_more_that_are_kept(corpus: Corpus) -> None:
    few, more = target(web=1e12, code=0.1e12), target(web=1e12, code=0.2e12)
    alone = sequences(matched(corpus, few, (40, {"code": 1.0})))
    mixed = sequences(matched(corpus, few, (40, {"code": 0.5, "web": 0.5})))
    wider = sequences(matched(corpus, more, (40, {"code": 1.0})))
    assert len(set(alone)) == 16
    assert len(set(wider)) == 32
    assert [row for row in mixed if row in set(alone)] == alone[:80]
    assert set(alone) < set(wider)


def test_seeds_keep_different_windows(corpus: Corpus) -> None:
    run = target(code=0.05e12)
    one, other = (set(sequences(matched(corpus, run, (20, {"code": 1.0}), seed=seed))) for seed in (0, 1))
    assert one != other


def test_at_least_one_window_is_kept(corpus: Corpus) -> None:
    sampler = matched(corpus, target(code=1), (3, {"code": 1.0}))
    assert len(set(sequences(sampler))) == 1
    assert sampler.epochs(3) == {"code": 12.0}


def windows_of(corpus: Corpus, name: str) -> int:
    return (corpus.train_tokens(name) - 1) // CONTEXT


def test_a_corpus_with_too_little_text_to_repeat_it_so_rarely_is_refused(corpus: Corpus) -> None:
    windows = windows_of(corpus, "law")
    steps = windows  # four times through all windows; the target run goes twice through what it has
    with pytest.raises(SpecError) as refusal:
        matched(corpus, target(law=0.5e12), (steps, {"law": 1.0}))
    message = str(refusal.value)
    assert "go 4 times through domain 'law' and its target run 2 times" in message
    assert f"needs {2 * windows * CONTEXT + 1} training tokens of it" in message
    assert f"has {windows * CONTEXT + 1}" in message


def test_text_that_neither_run_repeats_need_not_be_plenty(corpus: Corpus) -> None:
    windows = windows_of(corpus, "law")
    steps = windows // 4
    sampler = matched(corpus, target(law=8e12), (steps, {"law": 1.0}))
    assert sampler.epochs(steps)["law"] == pytest.approx(4 * steps / windows)
    with pytest.raises(SpecError, match=f"needs {8 * steps * CONTEXT + 1} training tokens"):  # enough for one epoch
        matched(corpus, target(law=8e12), (2 * steps, {"law": 1.0}))


def test_domains_that_the_target_run_does_not_name_are_an_error(corpus: Corpus) -> None:
    with pytest.raises(SpecError, match="the target run has of 'code', 'law'; it names web"):
        matched(corpus, target(web=1e12), (4, {"web": 0.5, "law": 0.25, "code": 0.25}))


def test_new_weights_that_would_repeat_too_much_change_nothing(corpus: Corpus) -> None:
    run = target(law=1e12, web=0.1e12)
    sampler = matched(corpus, run, (windows_of(corpus, "law"), {"web": 0.9, "law": 0.1}))
    stages = sampler.stages
    with pytest.raises(SpecError, match="through domain 'law'"):
        sampler.change_weights(1, {"law": 1.0})
    assert sampler.stages == stages
    assert sampler.changes == ()
