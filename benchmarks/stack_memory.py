"""The estimate of a stack's memory against the peak of a process that trains it on a CPU.

    python -m benchmarks.stack_memory [--sizes 0.2M:32,1M:8,5M:1]

A size is a preset and a stack. Every size is trained for two steps in a process of its own; its peak counts from what
the process held after a tiny stack.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.stacked_training import make_corpus, specs_for
from proxy_training.corpus_read import Corpus
from proxy_training.spec import ModelSpec
from proxy_training.stack_memory import stack_memory
from proxy_training.train import StackTrainer

_STEPS = 2


@dataclass(frozen=True)
class Peak:
    """What a stack was expected to need, and what it did need."""

    estimated_bytes: int
    measured_bytes: int

    @property
    def ratio(self) -> float:
        return self.estimated_bytes / self.measured_bytes


def measured_peak(model: ModelSpec, stack: int, corpus_folder: Path) -> Peak:
    """Train in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.stack_memory", "--train", model.model_dump_json()]
    command += ["--stack", str(stack), "--corpus", str(corpus_folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Peak(**json.loads(done.stdout))


def train(model: ModelSpec, stack: int, corpus: Corpus) -> Peak:
    """Train in this process, which must not have trained anything larger before."""
    torch.set_num_threads(1)
    _train(ModelSpec(), 1, corpus)
    before = _resident_bytes("VmRSS")
    _train(model, stack, corpus)
    peak = _resident_bytes("VmHWM")
    settings = specs_for(corpus, model, _STEPS * 16 * model.context, 1)[0].settings
    return Peak(stack * stack_memory(settings, "cpu").member_bytes, peak - before)


def _resident_bytes(name: str) -> int:
    """Of this process, by the kernel's name; its getrusage would count the peak of the parent process, too."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith(f"{name}:"))


def _train(model: ModelSpec, stack: int, corpus: Corpus) -> None:
    trainer = StackTrainer(specs_for(corpus, model, _STEPS * 16 * model.context, stack), corpus, torch.device("cpu"))
    for _ in range(_STEPS):
        trainer.advance()


def main() -> None:
    parser = argparse.ArgumentParser(description="Estimated against measured memory of a stack.")
    parser.add_argument("--sizes", default="0.2M:32,1M:8,5M:1")
    parser.add_argument("--train", type=ModelSpec.model_validate_json, help=argparse.SUPPRESS)
    parser.add_argument("--stack", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train is not None:
        print(json.dumps(vars(train(options.train, options.stack, Corpus.open(options.corpus)))))
        return
    with tempfile.TemporaryDirectory() as folder:
        corpus = make_corpus(Path(folder))
        for size in options.sizes.split(","):
            preset, stack = size.split(":")
            peak = measured_peak(ModelSpec.model_validate({"preset": preset}), int(stack), corpus.folder)
            print(
                f"{size:<8} estimated {peak.estimated_bytes / 2**20:>7,.0f} MiB   measured "
                f"{peak.measured_bytes / 2**20:>7,.0f} MiB   {peak.ratio:.2f}"
            )


if __name__ == "__main__":
    main()
