"""Whether one learning rate serves all widths: where the best rate lies at widths 32, 64 and 128, on real text.

    python -m benchmarks.rate_transfer [--text FOLDER] [--widths 32,64,128] [--tokens 131072] [--seeds 2] [--batch 16]

Trains a model of every width at every rate of a grid of factors of two, on the ``*.py`` files of FOLDER (by default
Python's own library) as bytes, and prints validation losses, the rate at the lowest point of a parabola through the
best rate and its neighbours, and how far that moves from width to width. ``--layers`` varies depth, for which there
is no promise.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from proxy_training.corpus_build import build_corpus
from proxy_training.corpus_config import CorpusConfig, DomainConfig
from proxy_training.corpus_read import Corpus
from proxy_training.evaluate import ValidationSet
from proxy_training.spec import ModelSpec, OptimizerSpec, ProxySettings, ProxySpec, Stage
from proxy_training.train import StackTrainer

RATES = [2e-2 * 2**power for power in range(-3, 3)]
TEXT_BYTES = 3_000_000


def make_corpus(folder: Path, text: Path) -> Corpus:
    """One domain: the first files of ``text``, in the order of their names."""
    with (folder / "text.jsonl").open("w", encoding="utf-8") as file:
        for document in _documents(text):
            file.write(json.dumps({"text": document}) + "\n")
    build_corpus(
        CorpusConfig(folder=folder, domains=(DomainConfig(name="text", files=("text.jsonl",)),)), folder / "corpus"
    )
    return Corpus.open(folder / "corpus")


def _documents(text: Path) -> Iterator[str]:
    left = TEXT_BYTES
    for path in sorted(text.glob("*.py")):
        document = path.read_text(encoding="utf-8", errors="replace")
        left -= len(document)
        if left < 0:
            return
        yield document


def final_loss(corpus: Corpus, model: ModelSpec, rate: float, tokens: int, seeds: int, batch: int) -> float:
    """Validation loss in bits per byte, averaged over seeds; infinite when one of them diverged."""
    settings = ProxySettings(
        corpus_hash=corpus.corpus_hash,
        model=model,
        optimizer=OptimizerSpec(learning_rate=rate),
        train_tokens=tokens,
        batch_sequences=batch,
    )
    stage = Stage(from_token=0, to_token=tokens, weights={"text": 1.0})
    specs = [ProxySpec(settings=settings, stages=(stage,), seed=seed) for seed in range(seeds)]
    trainer = StackTrainer(specs, corpus, torch.device("cpu"))
    while trainer.step < trainer.steps:
        if trainer.advance()[1]:
            return math.inf
    measured = trainer.measure(ValidationSet.of(corpus, model.context, 256), stopping=lambda: False)
    return float(np.mean([losses["text"].value if losses else math.inf for losses in measured]))


def best_rate(rates: Sequence[float], losses: Sequence[float]) -> float:
    """The rate at the lowest point of the parabola through the lowest loss and its neighbours, over log rate.

    At an end of the grid, or beside a diverged run, the grid's own best rate.
    """
    at = int(np.argmin(losses))
    around = losses[at - 1 : at + 2] if at else []
    if len(around) < 3 or not np.isfinite(around).all():
        return rates[at]
    square, linear, _ = np.polyfit(np.log(rates[at - 1 : at + 2]), around, 2)
    return math.exp(-linear / (2 * square))


def main() -> None:
    parser = argparse.ArgumentParser(description="Where the best learning rate lies at several widths.")
    parser.add_argument("--text", type=Path, default=Path(os.__file__).parent)
    parser.add_argument("--widths", type=lambda text: [int(part) for part in text.split(",")], default=[32, 64, 128])
    parser.add_argument("--layers", type=lambda text: [int(part) for part in text.split(",")], default=[2])
    parser.add_argument("--tokens", type=int, default=131_072)
    parser.add_argument("--batch", type=int, default=16, help="sequences of 64 tokens a step")
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("bits per byte at rate " + "".join(f"{rate:>8.4f}" for rate in RATES) + "   best")
    with tempfile.TemporaryDirectory() as folder:
        corpus, found = make_corpus(Path(folder), options.text), []
        for width, layers in ((width, layers) for layers in options.layers for width in options.widths):
            model = ModelSpec(d_model=width, n_layers=layers, n_heads=max(1, width // 16), d_ff=3 * width)
            losses = [final_loss(corpus, model, rate, options.tokens, options.seeds, options.batch) for rate in RATES]
            found.append(best_rate(RATES, losses))
            told = "".join(f"{loss:>8.4f}" for loss in losses)
            print(f"width {width:>4}, {layers} layers  {told}   {found[-1]:.4f}", flush=True)
    print(f"the best rate moves by a factor of {max(found) / min(found):.2f} over these models")


if __name__ == "__main__":
    main()
