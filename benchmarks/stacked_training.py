"""What stacking buys: training tokens a CPU second on one thread, against a plain loop of the same model.

    python -m benchmarks.stacked_training [--rounds 3] [--tokens 32768] [--sizes default,0.2M,1M] [--stacks 1,2,4,8]

All arms of a size train the same batches from the same start, in turn, round after round; the best round of each arm
counts, for a busy machine only ever slows things down. The ratios are what to look at. Evaluation is not in the time.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.corpus_speed import write_text
from benchmarks.plain_decoder import PlainDecoder
from proxy_training.corpus_build import build_corpus
from proxy_training.corpus_config import CorpusConfig, DomainConfig
from proxy_training.corpus_read import Corpus
from proxy_training.model import layout_of
from proxy_training.sampler import SequenceSampler
from proxy_training.schedules import learning_rate
from proxy_training.spec import ModelSpec, ProxySettings, ProxySpec, Stage
from proxy_training.stack_size import fastest_stack
from proxy_training.train import StackTrainer

SIZES = {
    "default": ModelSpec(),
    "0.06M": ModelSpec(n_layers=4),
    "0.2M": ModelSpec(d_model=64, n_layers=4, n_heads=4, d_ff=176),
    "1M": ModelSpec(d_model=128, n_layers=5, n_heads=4, d_ff=344),
}
CORPUS_BYTES = 2_000_000


def make_corpus(folder: Path) -> Corpus:
    """Two domains of random words."""
    for number, name in enumerate(("short", "long")):
        write_text(folder / f"{name}.jsonl", (500, 5_000)[number], CORPUS_BYTES)
    domains = tuple(DomainConfig(name=name, files=(f"{name}.jsonl",)) for name in ("short", "long"))
    build_corpus(CorpusConfig(folder=folder, domains=domains), folder / "corpus")
    return Corpus.open(folder / "corpus")


def specs_for(corpus: Corpus, model: ModelSpec, tokens: int, count: int) -> list[ProxySpec]:
    """Runs of different mixtures and seeds."""
    settings = ProxySettings(corpus_hash=corpus.corpus_hash, model=model, train_tokens=tokens)
    weights = [{"short": (at + 1) / (count + 1), "long": 1 - (at + 1) / (count + 1)} for at in range(count)]
    stages = [(Stage(from_token=0, to_token=tokens, weights=each),) for each in weights]
    return [ProxySpec(settings=settings, stages=stage, seed=seed) for seed, stage in enumerate(stages)]


def train_stack(specs: Sequence[ProxySpec], corpus: Corpus) -> float:
    """The last training loss of the first proxy."""
    trainer = StackTrainer(specs, corpus, torch.device("cpu"))
    losses = np.empty(0)
    while trainer.step < trainer.steps:
        losses, _ = trainer.advance()
    return float(losses[0])


def train_plain(spec: ProxySpec, corpus: Corpus) -> float:
    """The last training loss of one model, in the loop that everyone writes."""
    settings, sampler = spec.settings, SequenceSampler(corpus, spec)
    model = PlainDecoder(settings.model, layout_of(settings.model).initial_row(spec.draw_seed))
    betas = (settings.optimizer.beta1, settings.optimizer.beta2)
    optimizer = torch.optim.AdamW(model.parameter_groups(settings.optimizer), betas=betas, fused=True)
    peak = [group["lr"] for group in optimizer.param_groups]
    loss = torch.zeros(())
    for step in range(sampler.steps):
        tokens = torch.from_numpy(sampler.batch(step))
        loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.optimizer.grad_clip)
        share = learning_rate(settings.optimizer, step, sampler.steps) / settings.optimizer.learning_rate
        for group, rate in zip(optimizer.param_groups, peak, strict=True):
            group["lr"] = rate * share
        optimizer.step()
    return loss.item()


def measure(arms: dict[str, tuple[int, Callable[[], float]]], rounds: int, tokens: int) -> dict[str, float]:
    """Tokens a CPU second of every arm (its runs, the training), the best of ``rounds``."""
    best = dict.fromkeys(arms, 0.0)
    for _ in range(rounds):
        for name, (runs, train) in arms.items():
            start = time.process_time()
            train()
            best[name] = max(best[name], runs * tokens / (time.process_time() - start))
    return best


def report(name: str, model: ModelSpec, corpus: Corpus, options: argparse.Namespace) -> None:
    """Measure one size and print it."""
    specs = specs_for(corpus, model, options.tokens, max(options.stacks))
    plain, ours = train_plain(specs[0], corpus), train_stack(specs[:1], corpus)
    arms: dict[str, tuple[int, Callable[[], float]]] = {"plain loop": (1, lambda: train_plain(specs[0], corpus))}
    for stack in options.stacks:
        arms[f"stack of {stack}"] = (stack, lambda stack=stack: train_stack(specs[:stack], corpus))
    speeds = measure(arms, options.rounds, options.tokens)
    chosen = fastest_stack(specs[0].settings, "cpu")
    print(f"\n{name}: {model.non_embedding_params / 1e6:.3f}M parameters; agents stack {chosen} on a CPU")
    print(f"  last training loss: plain {plain:.4f}, stacked trainer {ours:.4f}")
    alone = speeds.get("stack of 1", speeds["plain loop"])
    for arm, speed in speeds.items():
        print(
            f"  {arm:<12} {speed:>9,.0f} tokens a CPU second   {speed / speeds['plain loop']:.2f} x plain"
            f"   {speed / alone:.2f} x one at a time"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of stacked proxy training on one CPU thread.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=32_768, help="training tokens a run")
    parser.add_argument("--sizes", type=lambda text: text.split(","), default=list(SIZES))
    parser.add_argument("--stacks", type=lambda text: [int(part) for part in text.split(",")], default=[1, 2, 4, 8])
    options = parser.parse_args()
    unknown = set(options.sizes) - set(SIZES)
    if unknown:
        parser.error(f"there is no size {unknown.pop()!r}; there are {', '.join(SIZES)}")
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, 1 thread, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        corpus = make_corpus(Path(folder))
        for name in options.sizes:
            report(name, SIZES[name], corpus, options)


if __name__ == "__main__":
    main()
