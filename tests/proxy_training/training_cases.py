"""Small runs on a small corpus, and a watcher that remembers what an engine tells it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from proxy_training.corpus_read import Corpus
from proxy_training.spec import ModelSpec, OptimizerSpec, ProxyResult, ProxySettings, ProxySpec, Stage, TrajectoryPoint
from proxy_training.work import Failure, Outcome

TINY = ModelSpec(d_model=16, n_layers=2, n_heads=2, d_ff=24, context=16)
STEP_TOKENS = 4 * 16


def tiny_settings(
    corpus: Corpus, steps: int = 8, model: ModelSpec = TINY, optimizer: Mapping[str, Any] | None = None, **keys: Any
) -> ProxySettings:
    """Settings of ``steps`` steps of 4 sequences."""
    return ProxySettings(
        corpus_hash=corpus.corpus_hash,
        model=model,
        optimizer=OptimizerSpec(**(optimizer or {})),
        train_tokens=steps * 4 * model.context,
        batch_sequences=4,
        eval_sequences=8,
        **keys,
    )


def run_of(settings: ProxySettings, weights: Mapping[str, float], seed: int = 0) -> ProxySpec:
    """A run with one stage."""
    stage = Stage(from_token=0, to_token=settings.train_tokens, weights=dict(weights))
    return ProxySpec(settings=settings, stages=(stage,), seed=seed)


def some_runs(corpus: Corpus, count: int, **keys: Any) -> list[ProxySpec]:
    """Different mixtures of the first two domains, with different seeds."""
    first, second = corpus.domains[:2]
    settings = tiny_settings(corpus, **keys)
    share = [(place + 1) / (count + 1) for place in range(count)]
    return [run_of(settings, {first: p, second: 1 - p}, seed) for seed, p in enumerate(share)]


class Recorder:
    """A watcher that keeps everything, and stops or drops runs when its test says so."""

    def __init__(self, stop_after_tokens: int | None = None, drop: Mapping[str, int] | None = None) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self.points: list[tuple[str, TrajectoryPoint]] = []
        self.progress: dict[str, list[int]] = {}
        self._stop_after_tokens = stop_after_tokens
        self._drop = dict(drop or {})
        self._tokens = 0

    def stopping(self) -> bool:
        return self._stop_after_tokens is not None and self._tokens >= self._stop_after_tokens

    def unwanted(self) -> Collection[str]:
        return {run_id for run_id, tokens in self._drop.items() if self._tokens >= tokens}

    def progressed(self, run_ids: Collection[str], train_tokens: int) -> None:
        self._tokens = train_tokens
        for run_id in run_ids:
            self.progress.setdefault(run_id, []).append(train_tokens)

    def measured(self, run_id: str, point: TrajectoryPoint) -> None:
        self.points.append((run_id, point))

    def ended(self, run_id: str, outcome: Outcome) -> None:
        assert run_id not in self.outcomes, f"{run_id} ended twice"
        self.outcomes[run_id] = outcome

    def result(self, run_id: str) -> ProxyResult:
        """The result of a run that must have one."""
        outcome = self.outcomes[run_id]
        assert not isinstance(outcome, Failure), outcome.reason
        return outcome


def made_up_run(seed: int = 0, corpus_hash: str = "corpus") -> ProxySpec:
    """A run for tests that train nothing."""
    settings = ProxySettings(corpus_hash=corpus_hash, model=TINY, train_tokens=STEP_TOKENS, batch_sequences=4)
    return run_of(settings, {"a": 0.5, "b": 0.5}, seed)
