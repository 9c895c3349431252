"""What stacking buys on a GPU, and what a swarm of 512 models of 1M parameters costs there.

    python -m benchmarks.gpu_stacking [--sizes 1M,5M,20M,60M] [--stacks 1,4,16,64] [--seconds 10] [--minutes 10]

For every size: training tokens a second in all of stacks of K, against one model at a time in the plain loop (autocast
to bf16, fused AdamW): eager, through ``torch.compile``, and captured in a CUDA graph. Beside each the share of the
card's own bf16 matrix rate, which a large product measures in the same run, and the peak of memory. Then the swarm of
RegMix (Liu et al. 2024, section 4: 512 models, 1B tokens each), for as long as ``--minutes`` says.

The plain loops train the same batch again and again, which favours them; stacks make their batches as they always do.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.plain_decoder import PlainTraining
from benchmarks.stacked_training import make_corpus, specs_for
from proxy_training.corpus_read import Corpus
from proxy_training.evaluate import ValidationSet
from proxy_training.precision import Precision
from proxy_training.sampler import SequenceSampler
from proxy_training.spec import ModelSpec, ProxySpec
from proxy_training.train import StackTrainer

SWARM_RUNS, SWARM_TOKENS = 512, 10**9  # of the paper
_BATCH = 16  # sequences, the default of a run
_ENOUGH_STEPS = 10**6  # no arm comes to the end of its run
_WARM_UP_STEPS = 5
_STEPS_A_LOOK = 10  # between two looks at the clock, each of which waits for the device

Step = Callable[[], object]


@dataclass(frozen=True)
class Speed:
    """What was measured of one arm."""

    arm: str
    tokens_per_second: float
    peak_bytes: int


def step_flops_per_token(model: ModelSpec) -> float:
    """Operations of the matrix products of a training step: 6 N, the head's, and half of a square of attention.

    Attention has 4 T d a layer and token in its forward pass, half of it masked, and twice that in the backward pass
    (Kaplan et al. 2020, table 1).
    """
    attention = 6 * model.n_layers * model.context * model.d_model
    return 6 * (model.non_embedding_params + model.vocab_size * model.d_model) + attention


def wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_rate(device: torch.device, size: int, seconds: float) -> float:
    """Operations a second of bf16 products of square matrices."""
    left = torch.randn(size, size, device=device).bfloat16()
    return 2 * size**3 * steps_per_second(lambda: left @ left, device, seconds)


def steps_per_second(step: Step, device: torch.device, seconds: float) -> float:
    """After some steps that do not count."""
    for _ in range(_WARM_UP_STEPS):
        step()
    wait_for(device)
    done, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < seconds or not done:
        for _ in range(_STEPS_A_LOOK):
            step()
        wait_for(device)
        done += _STEPS_A_LOOK
    return done / passed


def plain_step(spec: ProxySpec, corpus: Corpus, device: torch.device, compiled: bool = False) -> Step:
    tokens = torch.from_numpy(SequenceSampler(corpus, spec).batch(0)).to(device)
    training = PlainTraining(spec, device, _plain_precision(device), compiled)
    return lambda: training.step(tokens)


def graphed_step(spec: ProxySpec, corpus: Corpus, device: torch.device) -> Step:
    """One step of the plain loop as one CUDA graph, as the notes of PyTorch on CUDA graphs say. CUDA only."""
    tokens = torch.from_numpy(SequenceSampler(corpus, spec).batch(0)).to(device)
    training = PlainTraining(spec, device, _plain_precision(device), capturable=True)
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(_WARM_UP_STEPS):
            training.step(tokens)
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        training.step(tokens)
    return graph.replay


def _plain_precision(device: torch.device) -> Precision:
    return "bf16" if device.type == "cuda" else "fp32"


def arms_for(
    specs: Sequence[ProxySpec], corpus: Corpus, device: torch.device
) -> dict[str, tuple[int, Callable[[], Step]]]:
    """The models that one step of each arm trains, and what makes the arm ready."""
    arms: dict[str, tuple[int, Callable[[], Step]]] = {
        "plain, eager": (1, lambda: plain_step(specs[0], corpus, device)),
    }
    if device.type == "cuda":
        arms["plain, compiled"] = (1, lambda: plain_step(specs[0], corpus, device, compiled=True))
        arms["plain, CUDA graph"] = (1, lambda: graphed_step(specs[0], corpus, device))
    return arms


def stack_arms(
    specs: Sequence[ProxySpec], stacks: Sequence[int], corpus: Corpus, device: torch.device
) -> dict[str, tuple[int, Callable[[], Step]]]:
    return {
        f"stack of {stack}": (stack, lambda stack=stack: StackTrainer(specs[:stack], corpus, device).advance)
        for stack in stacks
    }


def measure(
    arm: str, models: int, ready: Callable[[], Step], step_tokens: int, device: torch.device, seconds: float
) -> Speed | None:
    """None for an arm that does not fit the card's memory."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    try:
        speed = steps_per_second(ready(), device, seconds) * models * step_tokens
    except torch.OutOfMemoryError:
        return None
    return Speed(arm, speed, torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0)


def report_size(
    model: ModelSpec, stacks: Sequence[int], corpus: Corpus, device: torch.device, seconds: float, card_flops: float
) -> list[Speed]:
    """Measure all arms of one size and print them."""
    step_tokens = _BATCH * model.context
    specs = specs_for(corpus, model, _ENOUGH_STEPS * step_tokens, max(stacks), "auto")
    arms = arms_for(specs, corpus, device) | stack_arms(specs, stacks, corpus, device)
    print(f"\n{model.non_embedding_params / 1e6:.2f}M parameters, {_BATCH} sequences of {model.context} tokens a step")
    found: list[Speed] = []
    for arm, (models, ready) in arms.items():
        speed = measure(arm, models, ready, step_tokens, device, seconds)
        if speed is None:
            print(f"  {arm:<18} does not fit the memory")
            continue
        found.append(speed)
        share = speed.tokens_per_second * step_flops_per_token(model) / card_flops
        print(
            f"  {arm:<18} {speed.tokens_per_second:>12,.0f} tokens a second"
            f"  {speed.tokens_per_second / found[0].tokens_per_second:>6.2f} x {found[0].arm}"
            f"  {share:>6.1%} of the matrix rate  peak {speed.peak_bytes / 2**30:.2f} GiB",
            flush=True,
        )
    return found


def report_swarm(
    model: ModelSpec, stack: int, runs: int, corpus: Corpus, device: torch.device, seconds: float
) -> float:
    """Train ``runs`` models from start to measurement, stack after stack, each for its share of the time.

    Returns tokens a second in all, everything counted.
    """
    specs = specs_for(corpus, model, _ENOUGH_STEPS * _BATCH * model.context, runs, "auto")
    validation = ValidationSet.of(corpus, model.context, 256)
    trained, start = 0, time.perf_counter()
    for first in range(0, runs, stack):
        trainer = StackTrainer(specs[first : first + stack], corpus, device)
        until = start + seconds * (first + len(trainer.members)) / runs
        while time.perf_counter() < until or not trainer.step:
            for _ in range(_STEPS_A_LOOK):
                trainer.advance()
            wait_for(device)
        trainer.measure(validation, stopping=lambda: False)
        trained += trainer.train_tokens * len(trainer.members)
    passed = time.perf_counter() - start
    rate = trained / passed
    hours = SWARM_RUNS * SWARM_TOKENS / rate / 3600
    print(
        f"\nswarm: {runs} models of {model.non_embedding_params / 1e6:.2f}M parameters in stacks of {stack}, "
        f"{passed / 60:.1f} minutes: {trained / runs:,.0f} tokens each, {rate:,.0f} tokens a second in all\n"
        f"  at this rate {SWARM_RUNS} models of {SWARM_TOKENS:,} tokens each would take {hours:.1f} hours of this "
        f"device; that is arithmetic, not a measurement"
    )
    return rate


def preset(name: str) -> ModelSpec:
    return ModelSpec.model_validate({"preset": name})


def fastest(speeds: Sequence[Speed]) -> int:
    """The stack that trained the most tokens a second."""
    stacked = [speed for speed in speeds if speed.arm.startswith("stack of ")]
    best = max(stacked, key=lambda speed: speed.tokens_per_second)
    return int(best.arm.removeprefix("stack of "))


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of stacked proxy training on a GPU.")
    parser.add_argument("--sizes", type=lambda text: text.split(","), default=["1M", "5M", "20M", "60M"])
    parser.add_argument("--stacks", type=lambda text: [int(part) for part in text.split(",")], default=[1, 4, 16, 64])
    parser.add_argument("--seconds", type=float, default=10.0, help="of every arm")
    parser.add_argument("--minutes", type=float, default=10.0, help="of the swarm")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("There is no GPU here, so nothing was measured.")
        return
    device = torch.device("cuda")
    card_flops = matrix_rate(device, 8192, 2.0)
    print(f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}, {card_flops / 1e12:.0f} TFLOP/s in bf16")
    with tempfile.TemporaryDirectory() as folder:
        corpus = make_corpus(Path(folder))
        for name in options.sizes:
            speeds = report_size(preset(name), options.stacks, corpus, device, options.seconds, card_flops)
            if name == "1M" and options.minutes:
                report_swarm(preset(name), fastest(speeds), SWARM_RUNS, corpus, device, 60 * options.minutes)


if __name__ == "__main__":
    main()
