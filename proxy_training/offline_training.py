"""Trains the runs of a file without a service, and appends what they measured to another file.

Runs that the file of results holds are not trained again. Runs that can share a stack are trained as stacks. Which
ones share follows from the file of specs, the options and the memory that there is, and not from the results: a stack
that was interrupted is found again and gone on with.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from proxy_training.checkpoint import Checkpoints
from proxy_training.engine_choice import data_at_hand, open_engine
from proxy_training.engines.base import Engine
from proxy_training.errors import ProxyError
from proxy_training.manifest import other_tokenizer, read_manifest
from proxy_training.run_files import ResultsFile, open_results, read_specs
from proxy_training.spec import NamedResult, NamedSpec, ProxyResult, TrajectoryPoint
from proxy_training.stopping import StopRequest
from proxy_training.training_options import TrainingOptions
from proxy_training.work import Assignment, Failure, Outcome

# A request to stop is noticed this soon while batches train.
_LOOK_UP_SECONDS = 0.1

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingSetup:
    """What the command line asks for.

    Args:
        specs, results: the files that are read and appended to.
    """

    specs: Path
    results: Path
    training: TrainingOptions


@dataclass
class Tally:
    """How far the training is. ``failed`` are the reasons by run; ``tokens_done`` of ``tokens`` are those of the runs
    that are trained now."""

    runs: int
    known: int
    tokens: int
    tokens_done: int = 0
    succeeded: int = 0
    diverged: int = 0
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def missing(self) -> int:
        """Runs without a result."""
        return self.runs - self.known - self.succeeded - self.diverged


OnProgress = Callable[[Tally], None]


def train_file(setup: TrainingSetup, stop: StopRequest, on_progress: OnProgress) -> Tally:
    """Train every run of the file that has no result yet, until all have one or ``stop`` is asked.

    Raises:
        ProxyError: an input is wrong, a result could not be written, or the corpus cannot be read any more.
    """
    specs = read_specs(setup.specs)
    data = data_at_hand(setup.training)
    _check_data(setup.specs, specs, data)
    _warn_of_early_stopping(specs)
    stacks = setup.results.with_name(f".{setup.results.name}.unfinished")
    with closing(open_engine(setup.training, Checkpoints(stacks))) as engine, open_results(setup.results) as results:
        work = _Work(engine, data, results, specs, stop, on_progress)
        work.train(_batches(specs, engine, setup.training.max_stack))
        if not work.tally.missing:
            shutil.rmtree(stacks, ignore_errors=True)
    return work.tally


def _check_data(path: Path, specs: Sequence[NamedSpec], data: Mapping[str, Path | None]) -> None:
    for named in specs:
        wanted = named.spec.settings.corpus_hash
        if wanted not in data:
            raise ProxyError(
                f"run {named.run_id!r} of {path} is for the corpus {wanted}; those given are {', '.join(data)}"
                f"{_other_tokenizers(named.spec.settings.model.vocab_size, data)}"
            )


def _other_tokenizers(vocab_size: int, data: Mapping[str, Path | None]) -> str:
    """What tells that none of the corpora was made by the tokenizer of the runs; empty where one may have been."""
    found = [other_tokenizer(vocab_size, folder, read_manifest(folder)) for folder in data.values() if folder]
    return found[0] if found and all(found) else ""


def _warn_of_early_stopping(specs: Sequence[NamedSpec]) -> None:
    count = sum(named.spec.settings.early_stopping is not None for named in specs)
    if count:
        log.warning(
            "early_stopping of %d of %d runs does nothing here, every run is trained to its end: only the service "
            "judges runs against each other while they train",
            count,
            len(specs),
            extra={"event": "early_stopping_ignored"},
        )


def _batches(specs: Sequence[NamedSpec], engine: Engine, max_stack: int | None) -> list[list[NamedSpec]]:
    """The runs that are trained as one, in the order of the file; no slot stays empty for a larger stack's sake."""
    groups: dict[str, list[NamedSpec]] = {}
    for named in specs:
        groups.setdefault(named.spec.settings.batch_key, []).append(named)
    batches = []
    for group in groups.values():
        share = -(-len(group) // engine.slots)
        size = min(max_stack or engine.preferred_stack(group[0].spec.settings), share)
        batches += [group[start : start + size] for start in range(0, len(group), size)]
    return batches


class _Work:
    """The runs of one call; threads of slots and engines report into it."""

    def __init__(
        self,
        engine: Engine,
        data: Mapping[str, Path | None],
        results: ResultsFile,
        specs: Sequence[NamedSpec],
        stop: StopRequest,
        on_progress: OnProgress,
    ) -> None:
        self._engine = engine
        self._data = data
        self._results = results
        self._stop = stop
        self._on_progress = on_progress
        self._runs = {named.run_id: named for named in results.unknown(specs, "trained")}
        self._tokens = {run_id: named.spec.settings.train_tokens for run_id, named in self._runs.items()}
        self._done = dict.fromkeys(self._tokens, 0)
        self._lock = threading.Lock()
        self.tally = Tally(len(specs), len(specs) - len(self._tokens), sum(self._tokens.values()))

    def train(self, batches: Sequence[Sequence[NamedSpec]]) -> None:
        """Train what is left of the batches, as many at a time as the engine has slots."""
        left = [[named for named in batch if named.run_id in self._tokens] for batch in batches]
        waiting = [batch for batch in left if batch]
        under_way: set[Future[None]] = set()
        self._on_progress(self.tally)
        with ThreadPoolExecutor(thread_name_prefix="slot", max_workers=len(waiting) or 1) as slots:
            try:
                while (waiting or under_way) and not (self._stop.asked and not under_way):
                    while waiting and len(under_way) < self._engine.slots and not self._stop.asked:
                        under_way.add(slots.submit(self._train, waiting.pop(0)))
                    if not under_way:  # the engine has no slot now, as a cluster that has lost its nodes
                        self._stop.wait(_LOOK_UP_SECONDS)
                    done, under_way = wait(under_way, _LOOK_UP_SECONDS, FIRST_COMPLETED)
                    for batch in done:
                        batch.result()
            except BaseException:
                self._stop.ask()  # the other slots must not train on for nobody
                raise

    def _train(self, batch: Sequence[NamedSpec]) -> None:
        watcher = _Watcher(self, self._stop)
        assignments = [Assignment(named.run_id, named.spec) for named in batch]
        self._engine.train(assignments, self._data[batch[0].spec.settings.corpus_hash], watcher)

    def progressed(self, run_ids: Collection[str], train_tokens: int) -> None:
        """These runs have been trained on that many tokens each."""
        with self._lock:
            for run_id in run_ids:
                self.tally.tokens_done += train_tokens - self._done[run_id]
                self._done[run_id] = train_tokens
            self._on_progress(self.tally)

    def ended(self, run_id: str, outcome: Outcome) -> None:
        """Keep the outcome of a run."""
        with self._lock:
            self.tally.tokens_done += self._tokens[run_id] - self._done[run_id]
            self._done[run_id] = self._tokens[run_id]
            if isinstance(outcome, Failure):
                self.tally.failed[run_id] = outcome.reason
                log.warning(
                    "Run %s failed: %s", run_id, outcome.reason, extra={"event": "run_failed", "run_id": run_id}
                )
            else:
                self._results.add(NamedResult.of(self._runs[run_id], outcome))
                self._count(outcome)
                log.info("Run %s %s", run_id, outcome.status, extra={"event": "run_ended", "run_id": run_id})
            self._on_progress(self.tally)

    def _count(self, result: ProxyResult) -> None:
        if result.status == "diverged":
            self.tally.diverged += 1
        else:
            self.tally.succeeded += 1


class _Watcher:
    """What an engine tells of a batch."""

    def __init__(self, work: _Work, stop: StopRequest) -> None:
        self._work = work
        self._stop = stop

    def stopping(self) -> bool:
        return self._stop.asked

    def unwanted(self) -> Collection[str]:
        return ()

    def progressed(self, run_ids: Collection[str], train_tokens: int) -> None:
        self._work.progressed(run_ids, train_tokens)

    def measured(self, run_id: str, point: TrajectoryPoint) -> None:
        del run_id, point  # the result holds the whole trajectory

    def ended(self, run_id: str, outcome: Outcome) -> None:
        self._work.ended(run_id, outcome)
