"""What a trainer in another process says, as JSON: the calls of a ``Watcher``, and what is answered to it.

One message is one line. The trainer's side speaks through a :class:`SendingWatcher`; the agent's side hands each
message to its own watcher with :func:`deliver`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from proxy_training.errors import CorpusError, ProxyError, SpecError
from proxy_training.spec import NamedSpec, ProxyResult, Record, TrajectoryPoint
from proxy_training.work import Assignment, Failure, Outcome, Watcher

# Who watches looks a few times a second; a tiny model does a thousand steps in that time.
_PROGRESS_EVERY_SECONDS = 0.1
# What an agent tells apart; all other errors are sentences to it.
_ERRORS: dict[str, type[ProxyError]] = {error.__name__: error for error in (CorpusError, SpecError)}


class Progressed(Record):
    """These runs have been trained on that many tokens each."""

    kind: Literal["progressed"] = "progressed"
    run_ids: tuple[str, ...]
    train_tokens: int


class PointMeasured(Record):
    """A point of the trajectory."""

    kind: Literal["measured"] = "measured"
    run_id: str
    point: TrajectoryPoint


class Ended(Record):
    """A run is over: with a result, or without one for a reason."""

    kind: Literal["ended"] = "ended"
    run_id: str
    result: ProxyResult | None = None
    reason: str = ""
    retry: bool = True

    @classmethod
    def of(cls, run_id: str, outcome: Outcome) -> Ended:
        """The message about ``outcome``."""
        if isinstance(outcome, ProxyResult):
            return cls(run_id=run_id, result=outcome)
        return cls(run_id=run_id, reason=outcome.reason, retry=outcome.retry)

    @property
    def outcome(self) -> Outcome:
        return self.result if self.result is not None else Failure(self.reason, self.retry)


class BatchOver(Record):
    """The trainer is through with its batch: nothing more comes. ``error`` is what broke it, by class and sentence."""

    kind: Literal["over"] = "over"
    error_class: str = ""
    error: str = ""

    @classmethod
    def broken_by(cls, error: Exception) -> BatchOver:
        """The message of a batch that ``error`` ended."""
        return cls(error_class=type(error).__name__, error=str(error))

    def raise_error(self) -> None:
        """Raise what broke the batch, if anything did.

        Raises:
            CorpusError, SpecError: as on the trainer's side.
            ProxyError: any other error, by name.
        """
        if self.error_class in _ERRORS:
            raise _ERRORS[self.error_class](self.error)
        if self.error_class == ProxyError.__name__:
            raise ProxyError(self.error)
        if self.error_class:
            raise ProxyError(f"{self.error_class}: {self.error}")


Message = Progressed | PointMeasured | Ended | BatchOver
MESSAGES: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])


class AssignedRun(NamedSpec):
    """An assignment as it travels."""

    @classmethod
    def of(cls, assignment: Assignment) -> AssignedRun:
        return cls(run_id=assignment.run_id, spec=assignment.spec)

    @property
    def assignment(self) -> Assignment:
        return Assignment(self.run_id, self.spec)


class Orders(Record):
    """What the agent wants of a batch under way."""

    stopping: bool = False
    unwanted: tuple[str, ...] = ()

    @classmethod
    def of(cls, watcher: Watcher) -> Orders:
        """What ``watcher`` wants at this moment."""
        return cls(stopping=watcher.stopping(), unwanted=tuple(sorted(watcher.unwanted())))


class SendingWatcher:
    """The watcher of the trainer's side. Progress is sent ten times a second at most; the last of it is never left out.

    Args:
        send: takes a message away. It may raise when nobody listens any more, which ends the training.
        orders: the latest word of the agent; cheap to ask.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        send: Callable[[Message], None],
        orders: Callable[[], Orders],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send = send
        self._orders = orders
        self._clock = clock
        self._waiting: Progressed | None = None
        self._next_at = clock()

    def stopping(self) -> bool:
        return self._orders().stopping

    def unwanted(self) -> Collection[str]:
        return self._orders().unwanted

    def progressed(self, run_ids: Collection[str], train_tokens: int) -> None:
        if self._waiting is not None and self._waiting.run_ids != tuple(run_ids):
            self.flush()
        self._waiting = Progressed(run_ids=tuple(run_ids), train_tokens=train_tokens)
        if self._clock() >= self._next_at:
            self.flush()

    def measured(self, run_id: str, point: TrajectoryPoint) -> None:
        self.flush()
        self._send(PointMeasured(run_id=run_id, point=point))

    def ended(self, run_id: str, outcome: Outcome) -> None:
        self.flush()
        self._send(Ended.of(run_id, outcome))

    def flush(self) -> None:
        """Send the progress that was kept back; also to be called when a batch is over."""
        if self._waiting is not None:
            self._send(self._waiting)
            self._waiting = None
            self._next_at = self._clock() + _PROGRESS_EVERY_SECONDS


def deliver(message: Message, watcher: Watcher) -> None:
    """Say to ``watcher`` what the trainer's side said; the end of the batch is its caller's matter."""
    match message:
        case Progressed():
            watcher.progressed(message.run_ids, message.train_tokens)
        case PointMeasured():
            watcher.measured(message.run_id, message.point)
        case Ended():
            watcher.ended(message.run_id, message.outcome)
        case BatchOver():
            pass
