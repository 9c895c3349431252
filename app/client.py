"""The Python client of the service, for training pipelines and notebooks. Needs httpx and nothing of the server.

    with Client("http://127.0.0.1:8321", api_key) as client:
        study = client.create_study(StudyCreate(...))
        client.create_runs(study.id, [RunCreate(...), ...])
        fit = client.wait_for_fit(client.create_fit(study.id).id)

Every method is one call of the API and returns its typed answer; the bodies are in ``app/schemas``. A refusal becomes a
:class:`Refused` with the sentence of the problem body. Safe to share between threads.
"""

from __future__ import annotations

import time
from typing import Self

from app.calls.agents import AgentCalls
from app.calls.answers import Download
from app.calls.domains import DomainCalls
from app.calls.errors import Changed, ClientError, Conflict, NotAllowed, NotFound, Refused, Unreachable
from app.calls.events import EventCalls
from app.calls.exports import ExportCalls
from app.calls.fits import FitCalls
from app.calls.imports import ImportCalls
from app.calls.jobs import JobFailed
from app.calls.keys import KeyCalls
from app.calls.recommendations import RecommendationCalls
from app.calls.runs import RunCalls
from app.calls.schedules import ScheduleCalls
from app.calls.studies import StudyCalls

__all__ = [
    "Changed",
    "Client",
    "ClientError",
    "Conflict",
    "Download",
    "JobFailed",
    "NotAllowed",
    "NotFound",
    "Refused",
    "Unreachable",
]


class Client(
    StudyCalls,
    DomainCalls,
    RunCalls,
    ImportCalls,
    AgentCalls,
    FitCalls,
    RecommendationCalls,
    ExportCalls,
    ScheduleCalls,
    EventCalls,
    KeyCalls,
):
    """Every call of the service, on one connection pool."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait_until_ready(self, seconds: float = 30.0) -> None:
        """Wait for a service that is starting.

        Raises:
            Unreachable: it does not answer in time.
        """
        deadline = time.monotonic() + seconds
        while not self.is_ready():
            if time.monotonic() > deadline:
                raise Unreachable(f"no service answers at {self.url} after {seconds:g} seconds")
            time.sleep(0.1)
