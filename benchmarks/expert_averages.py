"""How well experts foretell runs on mixtures: ranks of averaged experts and of MixMin against runs really trained.

    python -m benchmarks.expert_averages [--mixtures 24] [--tokens 65536] [--base-shares 0,0.25,0.5,0.75] [--folder DIR]

On the text of the demo, with its model. The experts of k domains cost k runs at most; the runs that they foretell are
trained from their first token on their own mixture, with the same initial weights and order of sequences.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from app.demo import plan as demo_plan
from app.demo.corpus import find_or_build
from app.demo.gather import gather
from mixers.agreement import spearman_within
from mixers.mixmin import DomainModels
from mixers.types import Scale
from proxy_training.corpus_read import Corpus
from proxy_training.evaluate import ValidationSet
from proxy_training.expert_averages import average_losses, log_probabilities
from proxy_training.experts import ExpertPlan, train_experts
from proxy_training.spec import Measured, ProxySettings, ProxySpec, Stage
from proxy_training.stack_size import preferred_stack
from proxy_training.train import StackTrainer

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Case:
    """The corpus, the settings of every run, and n mixtures of its m domains."""

    corpus: Corpus
    settings: ProxySettings
    weights: Float[np.ndarray, "n m"]


def trained_losses(case: Case) -> Float[np.ndarray, "n t"]:
    """The losses of real runs on the mixtures, in bits per byte."""
    domains, tokens = case.corpus.domains, case.settings.train_tokens
    specs = [
        ProxySpec(
            settings=case.settings,
            stages=(Stage(from_token=0, to_token=tokens, weights=dict(zip(domains, p.tolist(), strict=True))),),
        )
        for p in case.weights
    ]
    validation = ValidationSet.of(case.corpus, case.settings.model.context, case.settings.eval_sequences)
    stack, losses = preferred_stack(case.settings, CPU), []
    for first in range(0, len(specs), stack):
        trainer = StackTrainer(specs[first : first + stack], case.corpus, CPU)
        while trainer.step < trainer.steps:
            trainer.advance()
        losses += [values(measured, domains) for measured in trainer.measure(validation, lambda: False)]
    return np.array(losses)


def values(measured: dict[str, Measured] | None, names: tuple[str, ...]) -> list[float]:
    """The losses in the order of ``names``; NaN where a model diverged."""
    return [np.nan if measured is None else measured[name].value for name in names]


def ranks(foretold: Float[np.ndarray, "n t"], trained: Float[np.ndarray, "n t"]) -> str:
    """Spearman correlations of the targets, and of their plain mean."""
    one = np.zeros(len(trained), dtype=np.int64)  # all of one scale
    per_target = [spearman_within(b, a, one) for a, b in zip(foretold.T, trained.T, strict=True)]
    of_mean = spearman_within(trained.mean(axis=1), foretold.mean(axis=1), one)
    return f"mean of the targets {of_mean:.3f}, single targets {min(per_target):.3f} to {max(per_target):.3f}"


def report(case: Case, base_share: float, trained: Float[np.ndarray, "n t"]) -> None:
    """Train experts that start from ``base_share`` of the tokens together, and print what they foretell."""
    domains, tokens = case.corpus.domains, case.settings.train_tokens
    uniform = {name: 1 / len(domains) for name in domains}
    plan = ExpertPlan(settings=case.settings, base_weights=uniform, base_tokens=int(base_share * tokens))
    started = time.process_time()
    experts = train_experts(case.corpus, plan, CPU, lambda done, total: None)
    trained_seconds = time.process_time() - started
    validation = ValidationSet.of(case.corpus, case.settings.model.context, case.settings.eval_sequences)
    averaged = [values(one, domains) for one in average_losses(experts, case.weights, validation, CPU)]
    cost = experts.trained_tokens / (tokens * len(case.weights))
    print(f"\ncommon start {base_share:.0%} of {tokens:,} tokens: {cost:.2f} of the tokens of the runs, ", end="")
    print(f"{trained_seconds:.1f} CPU s")
    print(f"  averages   {ranks(np.array(averaged), trained)}")
    judged = log_probabilities(experts, case.corpus, CPU)
    models = DomainModels(judged.domains, judged.targets, judged.log_probs, judged.tokens.astype(float), judged.target)
    print(f"  MixMin     {ranks(models.predict(case.weights, Scale.unknown()).mean, trained)}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Experts against runs on mixtures.")
    parser.add_argument("--mixtures", type=int, default=24)
    parser.add_argument("--tokens", type=int, default=65_536, help="of every run")
    parser.add_argument("--base-shares", type=lambda text: [float(part) for part in text.split(",")], default=[0, 0.5])
    parser.add_argument("--folder", type=Path, help="keeps the demo's text and corpus for the next time")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        corpus = Corpus.open(find_or_build(gather(folder / "text"), folder).folder)
        settings = demo_plan.proxy_settings(corpus.corpus_hash).model_copy(
            update={"train_tokens": options.tokens, "measure_at_tokens": ()}
        )
        weights = np.random.default_rng(0).dirichlet(np.ones(len(corpus.domains)), size=options.mixtures)
        case = Case(corpus, settings, weights)
        started = time.process_time()
        trained = trained_losses(case)
        seconds = time.process_time() - started
        print(f"torch {torch.__version__}, 1 thread, load {os.getloadavg()[0]:.1f}")
        print(f"{options.mixtures} runs on mixtures of {len(corpus.domains)} domains: {seconds:.1f} CPU s")
        for share in options.base_shares:
            report(case, share, trained)


if __name__ == "__main__":
    main()
