"""Between a watcher and attempts that may say the same thing twice, or one after the other was taken for dead."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from proxy_training.engines.messages import MESSAGES, BatchOver, Orders, deliver
from proxy_training.spec import TrajectoryPoint
from proxy_training.work import Failure, Outcome, Watcher


class ToldOnce:
    """Hands on what attempts at one batch say, and each thing once; training twice gives the same, so the first counts.

    Args:
        run_ids: the batch.
    """

    def __init__(self, run_ids: Iterable[str], watcher: Watcher) -> None:
        self._open = set(run_ids)
        self._over: set[str] = set()
        self._points: set[tuple[str, int]] = set()
        self._tokens: dict[str, int] = {}
        self._watcher = watcher

    def take(self, messages: Iterable[str]) -> None:
        """Hand on messages, as JSON.

        Raises:
            ProxyError: what broke the batch, when that is what one says.
        """
        for text in messages:
            message = MESSAGES.validate_json(text)
            if isinstance(message, BatchOver):
                message.raise_error()
            deliver(message, self)

    def orders(self) -> Orders:
        """What the watcher wants of the runs that are not over."""
        gone = self._over | (set(self._watcher.unwanted()) & self._open)
        return Orders(stopping=self.stopping(), unwanted=tuple(sorted(gone)))

    def nobody_wants_more(self) -> bool:
        """Whether there is nothing left to train."""
        return self.stopping() or self._open <= set(self._watcher.unwanted())

    def fail_the_rest(self, reason: str) -> None:
        """Runs without an outcome have failed for ``reason``; another attempt may fare better."""
        for run_id in sorted(self._open - set(self._watcher.unwanted())):
            self.ended(run_id, Failure(reason, retry=True))

    def stopping(self) -> bool:
        return self._watcher.stopping()

    def unwanted(self) -> Collection[str]:
        return self._watcher.unwanted()

    def progressed(self, run_ids: Collection[str], train_tokens: int) -> None:
        further = [run_id for run_id in run_ids if self._tokens.get(run_id, 0) < train_tokens and run_id in self._open]
        self._tokens.update(dict.fromkeys(further, train_tokens))
        if further:
            self._watcher.progressed(further, train_tokens)

    def measured(self, run_id: str, point: TrajectoryPoint) -> None:
        key = (run_id, point.train_tokens)
        if run_id in self._open and key not in self._points:
            self._points.add(key)
            self._watcher.measured(run_id, point)

    def ended(self, run_id: str, outcome: Outcome) -> None:
        if run_id in self._open:
            self._open.remove(run_id)
            self._over.add(run_id)
            self._watcher.ended(run_id, outcome)
