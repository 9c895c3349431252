"""What a trainer of the user's own prints, as JSON Lines on its standard output.

    {"train_tokens": 4096}                                              progress
    {"train_tokens": 8192, "losses": {"law": 1.21, "code": {"value": 0.98, "stderr": 0.01}}}      a measurement
    {"status": "succeeded", "train_tokens": 65536, "losses": {...}}     the result
    {"status": "diverged", "message": "..."}                            the result of a run that has no number

Losses are in bits per byte. A measurement may carry ``metrics``, a result every field of a
:class:`~proxy_training.spec.ProxyResult`. Any line that is no JSON object is for people. Numbers of the kind NaN or
Infinity among the losses mean that the run has diverged.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError

from proxy_training.command_process import LONGEST_LINE_BYTES
from proxy_training.errors import ProxyError
from proxy_training.spec import ProxyResult, ProxySettings, Record, TrajectoryPoint

_MOST_POINTS = 10_000
_SHOWN_CHARACTERS = 200
_ACCEPTED = (
    'a line may be {"train_tokens": N}, {"train_tokens": N, "losses": {...}} or {"status": "succeeded" or "diverged", '
    "...}; other JSON objects belong on the standard error"
)


class WrongLine(ProxyError):
    """A JSON object that is none of the accepted ones."""


class Progress(Record):
    """How far the training is."""

    train_tokens: int = Field(ge=0, le=10**13)


Heard = Progress | TrajectoryPoint | ProxyResult


class TrainerLines:
    """All that one trainer has said of one run. The first result is the last word."""

    def __init__(self, settings: ProxySettings) -> None:
        self.result: ProxyResult | None = None
        self._settings = settings
        self._tokens = 0
        self._points: dict[int, TrajectoryPoint] = {}
        self._count = 0

    def hear(self, line: str) -> Heard | None:
        """What ``line`` says; None when it is for people.

        Raises:
            WrongLine: naming the line and what would be accepted.
        """
        self._count += 1
        document = self._object(line)
        if document is None or self.result is not None:
            return None
        try:
            heard = self._read(document)
            if self._settings.is_beyond(heard.train_tokens):
                raise WrongLine(f"train_tokens is {heard.train_tokens}; the run has {self._settings.train_tokens}")
        except (ValidationError, WrongLine) as exc:
            raise WrongLine(
                f"line {self._count} of the trainer's output, {line.strip()[:_SHOWN_CHARACTERS]!r}, is wrong: "
                f"{_what(exc)}; {_ACCEPTED}"
            ) from exc
        self._tokens = max(self._tokens, heard.train_tokens)
        if isinstance(heard, TrajectoryPoint):
            self._points[heard.train_tokens] = heard
        elif isinstance(heard, ProxyResult):
            self.result = heard
        return heard

    def is_end(self, train_tokens: int) -> bool:
        """Whether a run with that many tokens is finished."""
        return self._settings.is_end(train_tokens)

    def last_point_as_result(self) -> ProxyResult | None:
        """The result of a trainer that only measured: its point at the end of the run, when there is one."""
        if not self._points or not self.is_end(max(self._points)):
            return None
        last = self._points[max(self._points)]
        return ProxyResult(
            status="succeeded",
            train_tokens=last.train_tokens,
            losses=last.losses,
            metrics=last.metrics,
            trajectory=self._trajectory(),
        )

    @property
    def train_tokens(self) -> int:
        """How far the run is, as far as the trainer has said."""
        return self._tokens

    def _object(self, line: str) -> dict[str, Any] | None:
        if not line.lstrip().startswith("{"):
            return None
        if len(line.encode()) > LONGEST_LINE_BYTES:
            raise WrongLine(f"line {self._count} of the trainer's output is longer than {LONGEST_LINE_BYTES} bytes")
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            return None
        return document if isinstance(document, dict) else None

    def _read(self, document: dict[str, Any]) -> Heard:
        losses = _with_records(document, "losses")
        if document.get("status") == "diverged":
            return self._read_result(document, {})  # whatever it measured is no number to go by
        diverged = [name for name, loss in losses.items() if not _is_finite(loss)]
        if diverged:
            return self._diverged(document, diverged[0])
        if "status" in document:
            return self._read_result(document, losses)
        if "losses" not in document:
            return Progress.model_validate(document)
        if not losses:
            raise WrongLine("'losses' names no target")
        if len(self._points) >= _MOST_POINTS:
            raise WrongLine(f"it is measurement {_MOST_POINTS + 1}; a run has {_MOST_POINTS} at most")
        metrics = _with_records(document, "metrics")
        return TrajectoryPoint.model_validate({**document, "losses": losses, "metrics": metrics})

    def _read_result(self, document: dict[str, Any], losses: dict[str, Any]) -> ProxyResult:
        given = {"train_tokens": self._tokens, **document, "losses": losses}
        result = ProxyResult.model_validate({**given, "metrics": _with_records(document, "metrics")})
        if result.status == "succeeded" and not self.is_end(result.train_tokens):
            raise WrongLine(f"it succeeded after {result.train_tokens} tokens of {self._settings.train_tokens}")
        if "trajectory" in document:
            return result
        if result.status == "succeeded":
            self._points[result.train_tokens] = TrajectoryPoint(
                train_tokens=result.train_tokens, losses=result.losses, metrics=result.metrics
            )
        return result.model_copy(update={"trajectory": self._trajectory()})

    def _diverged(self, document: dict[str, Any], target: str) -> ProxyResult:
        tokens = document.get("train_tokens")
        at = Progress.model_validate({"train_tokens": self._tokens if tokens is None else tokens}).train_tokens
        return ProxyResult(
            status="diverged",
            train_tokens=at,
            trajectory=self._trajectory(),
            message=f"the trainer reported a loss of {target!r} that is not finite after {at} tokens",
        )

    def _trajectory(self) -> tuple[TrajectoryPoint, ...]:
        return tuple(self._points[tokens] for tokens in sorted(self._points))


def _with_records(document: Mapping[str, Any], field: str) -> dict[str, Any]:
    """Measurements by name, each as a record: a plain number is its value."""
    measured = document.get(field, {})
    if not isinstance(measured, dict):
        raise WrongLine(f"{field!r} must be an object of numbers by name")
    return {name: value if isinstance(value, dict) else {"value": value} for name, value in measured.items()}


def _is_finite(loss: Mapping[str, Any]) -> bool:
    value = loss.get("value")
    return not isinstance(value, float) or math.isfinite(value)


def _what(error: ValidationError | WrongLine) -> str:
    if isinstance(error, WrongLine):
        return str(error)
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]
