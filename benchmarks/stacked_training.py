"""What stacking buys: training tokens a CPU second on one thread, against a plain loop of the same model.

    python -m benchmarks.stacked_training [--rounds 5] [--sizes 0.03M,0.06M,0.2M,1M,5M] [--stacks 1,2,4,8]

All arms of a size train the same batches from the same start, a few steps of each in turn, round after round; the best
round of each arm counts, for a busy machine only ever slows things down. The ratios are what to look at. The plain
loop has PyTorch's fused AdamW, and autocast for bf16. Making batches is in the time, evaluation is not.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import torch

from benchmarks.corpus_speed import write_text
from benchmarks.plain_decoder import PlainTraining
from proxy_training.corpus_build import build_corpus
from proxy_training.corpus_config import CorpusConfig, DomainConfig
from proxy_training.corpus_read import Corpus
from proxy_training.precision import Precision
from proxy_training.sampler import SequenceSampler
from proxy_training.spec import ModelSpec, ProxySettings, ProxySpec, Stage
from proxy_training.stack_size import fastest_stack
from proxy_training.train import StackTrainer

CPU = torch.device("cpu")
# Sequences of 64 tokens throughout, so that sizes are compared and not contexts.
SIZES = {
    "0.03M": ModelSpec(),
    "0.06M": ModelSpec(n_layers=4),
    "0.2M": ModelSpec.model_validate({"preset": "0.2M", "context": 64}),
    "1M": ModelSpec.model_validate({"preset": "1M", "context": 64}),
    "5M": ModelSpec.model_validate({"preset": "5M", "context": 64}),
}
CORPUS_BYTES = 2_000_000
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
# Losses of bf16 and fp32 are compared after so many steps.
COMPARED_STEPS = {"0.03M": 200, "0.06M": 200, "0.2M": 100}

# (precision, name) to the proxies of the arm and what does one step of each of them.
Arms = dict[tuple[Precision, str], tuple[int, Callable[[], object]]]


def make_corpus(folder: Path) -> Corpus:
    """Two domains of random words."""
    for number, name in enumerate(("short", "long")):
        write_text(folder / f"{name}.jsonl", (500, 5_000)[number], CORPUS_BYTES)
    domains = tuple(DomainConfig(name=name, files=(f"{name}.jsonl",)) for name in ("short", "long"))
    build_corpus(CorpusConfig(folder=folder, domains=domains), folder / "corpus")
    return Corpus.open(folder / "corpus")


def specs_for(
    corpus: Corpus, model: ModelSpec, tokens: int, count: int, precision: Precision | Literal["auto"] = "fp32"
) -> list[ProxySpec]:
    """Runs of different mixtures and seeds."""
    settings = ProxySettings(corpus_hash=corpus.corpus_hash, model=model, train_tokens=tokens, precision=precision)
    weights = [{"short": (at + 1) / (count + 1), "long": 1 - (at + 1) / (count + 1)} for at in range(count)]
    stages = [(Stage(from_token=0, to_token=tokens, weights=each),) for each in weights]
    return [ProxySpec(settings=settings, stages=stage, seed=seed) for seed, stage in enumerate(stages)]


def plain_step(spec: ProxySpec, corpus: Corpus, precision: Precision) -> Callable[[], torch.Tensor]:
    """What does the next step of the plain loop, batch included."""
    sampler, training, steps = SequenceSampler(corpus, spec), PlainTraining(spec, CPU, precision), iter(range(10**9))
    return lambda: training.step(torch.from_numpy(sampler.batch(next(steps))))


def train_plain(spec: ProxySpec, corpus: Corpus, precision: Precision = "fp32") -> float:
    """The last training loss of the plain loop."""
    step = plain_step(spec, corpus, precision)
    losses = [step() for _ in range(SequenceSampler(corpus, spec).steps)]
    return losses[-1].item()


def arms_for(corpus: Corpus, model: ModelSpec, stacks: Sequence[int], tokens: int) -> Arms:
    arms: Arms = {}
    for precision in PRECISIONS:
        specs = specs_for(corpus, model, tokens, max(stacks), precision)
        arms[precision, "plain loop"] = (1, plain_step(specs[0], corpus, precision))
        for stack in stacks:
            arms[precision, f"stack of {stack}"] = (stack, StackTrainer(specs[:stack], corpus, CPU).advance)
    return arms


def measure(arms: Arms, rounds: int, proxy_steps: int, step_tokens: int) -> dict[tuple[Precision, str], float]:
    """Tokens a CPU second of every arm, the best of ``rounds`` after one that does not count."""
    best = dict.fromkeys(arms, 0.0)
    for number in range(rounds + 1):
        for name, (proxies, step) in arms.items():
            steps = max(1, proxy_steps // proxies)
            start = time.process_time()
            for _ in range(steps):
                step()
            speed = steps * proxies * step_tokens / (time.process_time() - start)
            best[name] = max(best[name], speed) if number else 0.0
    return best


def report(name: str, corpus: Corpus, options: argparse.Namespace) -> None:
    """Measure one size and print it."""
    model, most = SIZES[name], max(options.stacks)
    step_tokens = 16 * model.context
    proxy_steps = max(most, int(1e6 / model.non_embedding_params))
    tokens = (options.rounds + 2) * proxy_steps * step_tokens
    speeds = measure(arms_for(corpus, model, options.stacks, tokens), options.rounds, proxy_steps, step_tokens)
    print(f"\n{name}: {model.non_embedding_params / 1e6:.3f}M parameters")
    for (precision, arm), speed in speeds.items():
        alone = speeds.get((precision, "stack of 1"), speeds[precision, "plain loop"])
        print(
            f"  {precision} {arm:<11} {speed:>9,.0f} tokens a CPU second"
            f"   {speed / speeds['fp32', 'plain loop']:.2f} x the plain loop in fp32"
            f"   {speed / alone:.2f} x one at a time"
        )
    for precision in PRECISIONS:
        settings = specs_for(corpus, model, tokens, 1, precision)[0].settings
        print(f"  agents stack {fastest_stack(settings, 'cpu')} in {precision} on a CPU")


def report_losses(name: str, corpus: Corpus, steps: int) -> None:
    """Print the mean training loss of the last tenth of some steps, in every way of training."""
    model = SIZES[name]
    means = {}
    for precision in PRECISIONS:
        specs = specs_for(corpus, model, steps * 16 * model.context, 4, precision)
        plain, trainer = plain_step(specs[0], corpus, precision), StackTrainer(specs, corpus, CPU)
        for arm, step in {"plain": plain, "stacked": lambda trainer=trainer: trainer.advance()[0][0]}.items():
            losses = torch.stack([step() for _ in range(steps)])
            means[precision, arm] = losses[-steps // 10 :].mean().item()
    told = ", ".join(f"{precision} {arm} {loss:.4f}" for (precision, arm), loss in means.items())
    print(f"  training loss after {steps} steps: {told}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of stacked proxy training on one CPU thread.")
    parser.add_argument("--rounds", type=int, default=5)
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
            report(name, corpus, options)
            if name in COMPARED_STEPS:
                report_losses(name, corpus, COMPARED_STEPS[name])


if __name__ == "__main__":
    main()
