"""The engine that the options of a command stand for, and the data that it is to train on."""

from __future__ import annotations

from pathlib import Path

from proxy_training.checkpoint import CheckpointPolicy, Checkpoints
from proxy_training.corpus_read import Corpus
from proxy_training.engines import ENGINES
from proxy_training.engines.base import Engine, EngineOptions
from proxy_training.errors import ProxyError
from proxy_training.training_options import TrainingOptions


def data_at_hand(training: TrainingOptions) -> dict[str, Path | None]:
    """The folder of every corpus by its hash; None where only a trainer of the user's own knows the data, by name.

    Raises:
        ProxyError: nothing is named, or names are given to an engine that reads corpora itself.
    """
    kind = _kind(training.engine_name)
    if training.corpus_names and kind.reads_corpora:
        raise ProxyError(f"the engine {kind.name!r} trains on tokenised corpora; name their folders with --corpus")
    if not training.corpus and not training.corpus_names:
        wanted = "--corpus DIR" if kind.reads_corpora else "--corpus DIR or --corpus-name NAME"
        raise ProxyError(f"no data is named to train on; give {wanted}")
    names: dict[str, Path | None] = dict.fromkeys(training.corpus_names or ())
    return names | {Corpus.open(folder).corpus_hash: folder for folder in training.corpus or ()}


def open_engine(training: TrainingOptions, checkpoints: Checkpoints) -> Engine:
    """The engine, which keeps unfinished stacks in ``checkpoints``; close it.

    Raises:
        ProxyError: there is no such engine, it has no use for one of the options, or its machine cannot be used.
    """
    options = EngineOptions(
        policy=CheckpointPolicy(checkpoints, training.checkpoint_seconds),
        slots=training.slots,
        address=training.address,
        command=training.command,
        metrics_command=training.metrics_command,
        keep_models=training.keep_models,
    )
    return _kind(training.engine_name)(options)


def _kind(name: str) -> type[Engine]:
    if name not in ENGINES:
        raise ProxyError(f"there is no engine {name!r}; there are {', '.join(sorted(ENGINES))}")
    return ENGINES[name]
