"""Schemathesis against the application: cases made from its OpenAPI document, and what was wrong with the answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from fastapi import FastAPI
from schemathesis import engine
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events
from schemathesis.engine.recorder import ScenarioRecorder
from schemathesis.python.asgi import HOST, shutdown_lifespans

from tests.app.conftest import BEARER, OWNER_KEY
from tests.app.stocked_service import Known

__all__ = ["HOST", "Effort", "Outcome", "try_everything"]

# A stream on which nothing happens is listened to as long as this; its first event is all that is waited for.
STREAMS = "(events/stream|/fits/{fit_id}/events|/recommendations/{recommendation_id}/events)$"
STREAM_SECONDS = 0.2
# Their other methods are those of /runs/{run_id}, for which "claim" and such are wrong identifiers.
INSIDE_RUNS = ["/v1/runs/claim", "/v1/runs/complete", "/v1/runs/measurements"]


@dataclass(frozen=True)
class Effort:
    """How much is tried: random cases of an operation, sequences of calls, operations without systematic cases."""

    examples: int
    sequences: int
    seed: int
    not_covered: Sequence[str] = ()


@dataclass
class Outcome:
    """The calls of each phase, and what was wrong: one text for each kind of failure of an operation."""

    calls: Counter[str] = field(default_factory=Counter)
    statuses: dict[str, Counter[int]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        by_phase = ", ".join(f"{count} {phase}" for phase, count in self.calls.items())
        return f"{self.calls.total()} calls ({by_phase})"

    def told(self) -> str:
        return "\n\n".join(f"{name}\n{text}" for name, text in self.failures.items())


def try_everything(app: FastAPI, known: Known, effort: Effort) -> Outcome:
    """Run all phases with all checks."""
    config = SchemathesisConfig.from_dict(_config(known, effort))
    outcome = Outcome()
    with _lifespan_ended():
        schema = schemathesis.openapi.from_asgi("/v1/openapi.json", app, config=config, headers=BEARER)
        for event in engine.from_schema(schema).execute():
            if isinstance(event, events.ScenarioFinished):
                _take(outcome, event.phase.value, event.recorder)
            elif isinstance(event, events.NonFatalError):
                outcome.failures[f"{event.label}: {type(event.value).__name__}"] = str(event.value)
            elif isinstance(event, events.FatalError):
                raise event.exception
    return outcome


def _take(outcome: Outcome, phase: str, recorder: ScenarioRecorder) -> None:
    labels = {key: case.value.operation.label for key, case in recorder.cases.items()}
    for key, call in recorder.interactions.items():
        outcome.calls[phase] += 1
        if call.response is not None:
            outcome.statuses.setdefault(labels[key], Counter())[call.response.status_code] += 1
    for key, checks in recorder.checks.items():
        for check in checks:
            if check.failure_info is not None:
                failure = check.failure_info.failure
                name = f"{labels[key]}: {check.name}: {failure.title}"
                outcome.failures.setdefault(name, f"{failure.message}\n{check.failure_info.code_sample}")


@contextmanager
def _lifespan_ended() -> Iterator[None]:
    """Schemathesis keeps an application open until the process ends; its database is gone before."""
    try:
        yield
    finally:
        shutdown_lifespans()


def _config(known: Known, effort: Effort) -> dict[str, Any]:
    random = {"max-examples": effort.examples, "database": "none", "no-shrink": True}
    sequences = {"max-steps": 8, "generation": random | {"max-examples": effort.sequences}}
    without: dict[str, Any] = {"phases": {"coverage": {"enabled": False}}}
    return {
        "seed": effort.seed,
        "continue-on-failure": True,
        "max-stream-events": 1,
        "request-timeout": 20,
        "auth": {"openapi": {"key": {"bearer": OWNER_KEY}}},
        "generation": random,
        "phases": {"stateful": sequences},
        "checks": {
            # What the schema allows may still name what is not there, or be no version of what is changed.
            "positive_data_acceptance": {"expected-statuses": ["2xx", "304", "404", "409", "412", "422", "428"]},
            "negative_data_rejection": {"expected-statuses": ["400", "401", "404", "405", "412", "422", "428"]},
        },
        "operations": [
            {"include-path": INSIDE_RUNS, "checks": {name: {"enabled": False} for name in _OF_METHODS}},
            {"include-path-regex": STREAMS, "request-timeout": STREAM_SECONDS, "generation": {"max-examples": 2}},
            *({"include-operation-id": name} | without for name in effort.not_covered),
        ],
    } | _known_values(known)


_OF_METHODS = ("unsupported_method", "allow_header_conformance")


def _known_values(known: Known) -> dict[str, Any]:
    """Where known identifiers stand in for made-up ones, and how often."""
    often, mostly = 0.9, 0.7
    places = {f"path.{name}": (name, often) for name in known}
    places |= {"body.agent_id": ("agent_id", often), "body.fit_id": ("fit_id", often)}
    places |= {"body.attempt": ("attempt", mostly), "header.If-Match": ("any_version", mostly)}
    values: dict[str, list[Any]] = {**known, "attempt": [1], "any_version": ["*"]}
    return {
        "dictionaries": {name: {"values": given} for name, given in values.items()},
        "parameters": {place: {"dictionary": name, "probability": p} for place, (name, p) in places.items()},
    }
