"""Predictions of runs by laws that have not seen them, each fit made once however many questions need it.

What is left out of a fit is a set of folds, and on request the runs of the largest scale. With K folds:

    judging a law         K fits, each without one fold
    choosing among laws   for each outer fold f the laws are compared on other folds g, by fits without f and g

The second takes K (K - 1) / 2 more fits, and all of them are made where runs are few: there every run counts, and fits
are cheap. Otherwise a ring is enough: fold f is served by its two neighbours, K more fits in all.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from mixers.errors import MixError
from mixers.folds import is_largest_scale
from mixers.laws.base import MixingLaw
from mixers.types import Observations, Scale

# Up to here fits are cheap and evidence is scarce.
_FEW_RUNS = 150


@dataclass(frozen=True)
class LeftOut:
    """Runs that a fit does not see: those of ``folds``, and when ``largest`` those of the largest scale, with all of
    their checkpoints: what a run measured half-way tells how it ends."""

    folds: frozenset[int]
    largest: bool = False


@dataclass(frozen=True)
class Guess:
    """Predicted means and standard deviations (n, t), NaN for runs that the fit has seen; its cost in seconds.

    ``problem`` says why the law could not be fitted; then everything is NaN.
    """

    mean: Float[np.ndarray, "n t"]
    std: Float[np.ndarray, "n t"]
    seconds: float
    problem: str | None = None


@dataclass(frozen=True)
class Task:
    """One fit: a law, what it sees, and what it is to predict. Goes to another process as it is."""

    law: MixingLaw
    seen: Observations
    asked: Observations
    seed: tuple[int, ...]


# What a task gives: means and standard deviations of the asked runs, seconds, and the reason when there are none.
Outcome = tuple[np.ndarray, np.ndarray, float, str | None]
# Like map: results in the order of the tasks. A pool of processes has one of these.
RunTasks = Callable[[Callable[[Task], Outcome], Sequence[Task]], Iterable[Outcome]]


def in_turn(function: Callable[[Task], Outcome], tasks: Sequence[Task]) -> Iterator[Outcome]:
    """One task after the other in this process."""
    return map(function, tasks)


def carry_out(task: Task) -> Outcome:
    """Fit and predict; an error of the law, or of the numerical library under it, is a reason and not an exception."""
    started = time.perf_counter()
    shape = (len(task.asked), len(task.asked.targets))
    try:
        fitted = task.law.fit(task.seen, np.random.default_rng(list(task.seed)))
        guess = fitted.predict(task.asked.p, Scale(task.asked.model_params, task.asked.train_tokens))
    except (MixError, np.linalg.LinAlgError, RuntimeError, ArithmeticError, ValueError) as error:
        # A comparison of many laws goes on without the one that failed, and says why.
        reason = str(error) if isinstance(error, MixError) else f"its fit failed on these runs: {error}"
        return np.full(shape, np.nan), np.full(shape, np.nan), time.perf_counter() - started, reason
    return guess.mean, guess.std, time.perf_counter() - started, None


class CrossFit:
    """Runs cut into folds, and the guesses about them that were made so far."""

    def __init__(self, runs: Observations, fold: Int[np.ndarray, " n"], seed: int, run: RunTasks = in_turn) -> None:
        self.runs, self.fold, self.seed = runs, fold, seed
        self.folds = int(fold.max()) + 1
        self.largest = is_largest_scale(runs)
        self._reaching = np.isin(runs.of_run, np.array(runs.of_run)[self.largest])
        if self._reaching.all():  # no run ends at a smaller scale: nothing to go by
            self.largest = np.zeros(len(runs), bool)
        self._run = run
        self._guesses: dict[tuple[str, LeftOut], Guess] = {}

    def prepare(
        self, wanted: Sequence[tuple[MixingLaw, LeftOut]], on_done: Callable[[MixingLaw], None] | None = None
    ) -> None:
        """Make the fits among ``wanted`` that were not made yet, side by side where the runner allows it."""
        new = {(law.name, left): law for law, left in wanted if (law.name, left) not in self._guesses}
        tasks = [self._task(law, left) for (_, left), law in new.items()]
        for ((name, left), law), outcome in zip(new.items(), self._run(carry_out, tasks), strict=True):
            self._guesses[name, left] = self._spread(left, outcome)
            if on_done is not None:
                on_done(law)

    def guess(self, law: MixingLaw, left: LeftOut) -> Guess:
        """What ``law`` predicts for the runs that were left out."""
        self.prepare([(law, left)])
        return self._guesses[law.name, left]

    def out_of_fold(self, law: MixingLaw, without: int | None = None) -> Guess:
        """Every run predicted without its fold; with ``without`` the runs of its partner folds, also without that."""
        lefts = self.judging() if without is None else self.pairs(without)
        guesses = [self.guess(law, left) for left in lefts]
        problem = next((guess.problem for guess in guesses if guess.problem is not None), None)
        shape = self.runs.losses.shape
        mean, std = np.full(shape, np.nan), np.full(shape, np.nan)
        for left, guess in zip(lefts, guesses, strict=True):
            rows = np.isin(self.fold, [f for f in left.folds if f != without])
            mean[rows], std[rows] = guess.mean[rows], guess.std[rows]
        return Guess(mean, std, sum(guess.seconds for guess in guesses), problem)

    def judging(self) -> list[LeftOut]:
        """One fold at a time."""
        return [LeftOut(frozenset({f})) for f in range(self.folds)]

    def pairs(self, outer: int) -> list[LeftOut]:
        """``outer`` with each of its partners: all other folds where runs are few, else its two neighbours."""
        few = len(self.runs) <= _FEW_RUNS
        partners = range(self.folds) if few else dict.fromkeys(((outer + 1) % self.folds, (outer - 1) % self.folds))
        return [LeftOut(frozenset({outer, g})) for g in partners if g != outer]

    def transfer(self, without: int | None = None) -> LeftOut | None:
        """The largest scale, and fold ``without``; None where there is one scale only."""
        if not self.largest.any():
            return None
        return LeftOut(frozenset() if without is None else frozenset({without}), largest=True)

    def rows_left_out(self, left: LeftOut) -> np.ndarray:
        """Mask (n,) of the runs that such a fit does not see."""
        rows = np.isin(self.fold, list(left.folds))
        return rows | self._reaching if left.largest else rows

    def _task(self, law: MixingLaw, left: LeftOut) -> Task:
        out = self.rows_left_out(left)
        seed = (self.seed, zlib.crc32(law.name.encode()), *sorted(left.folds), int(left.largest))
        return Task(law, self.runs.rows(~out), self.runs.rows(out), seed)

    def _spread(self, left: LeftOut, outcome: Outcome) -> Guess:
        out = self.rows_left_out(left)
        shape = self.runs.losses.shape
        mean, std = np.full(shape, np.nan), np.full(shape, np.nan)
        mean[out], std[out] = outcome[0], outcome[1]
        return Guess(mean, std, outcome[2], outcome[3])
