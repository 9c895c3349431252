"""What a monitoring system reads at ``/metrics``: of this process (requests, connections) and of the database (queues).

What is of the database is the same whichever replica is asked: take one of them, do not add them up.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool
from starlette.types import Scope

from app.db import Database
from app.models import Job, Run, Study
from app.schemas.jobs import JobState
from app.schemas.runs import RunState
from app.security import API_PREFIX
from app.services import event_log
from app.services.event_log import Place

_SECONDS = (0.002, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_UNKNOWN = "other"
# What has ended is history, and counting it would take longer with every run.
_OPEN_RUNS = (RunState.QUEUED, RunState.LEASED)
_OPEN_JOBS = (JobState.QUEUED, JobState.RUNNING)
_LEASE_RAN_OUT = "run.stale"


class Metrics:
    """The numbers of one application."""

    def __init__(self, database: Database) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._requests = Histogram(
            "mixwright_request_seconds",
            "Time until an answer begins, by route.",
            ("method", "route", "status"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.registry.register(_OfDatabase(database))

    def answered(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request. Addresses that no route knows are counted together, whatever callers make up."""
        route = _template(scope)
        method = scope["method"] if route != _UNKNOWN else _UNKNOWN
        self._requests.labels(method, route, str(status)).observe(seconds)


def _template(scope: Scope) -> str:
    """The path of the route that answered, with names for its parameters."""
    template = getattr(scope.get("route"), "path_format", None)
    if template is None:
        return _UNKNOWN
    # Some versions of FastAPI leave out the prefix that a router was included with.
    inside = scope["path"].startswith(f"{API_PREFIX}/") and not template.startswith(f"{API_PREFIX}/")
    return API_PREFIX + template if inside else template


class _OfDatabase(Collector):
    """Asked at every scrape."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._read_to: Place | None = None
        self._leases_lost = 0

    def describe(self) -> list[Metric]:
        return []  # registering must not ask the database

    def collect(self) -> Iterator[Metric]:
        """Metric families, with the present numbers."""
        with self._database.read() as session:
            yield _by_state("mixwright_runs", "Runs that wait or are trained.", session, Run, _OPEN_RUNS)
            yield _by_state("mixwright_jobs", "Jobs of the service that wait or run.", session, Job, _OPEN_JOBS)
            yield self._lost(session)
            yield _hours(session)
            late = GaugeMetricFamily("mixwright_events_unsettled", "Events that followers do not get yet.")
            late.add_metric([], event_log.unsettled(session))
            yield late
        yield from self._connections()

    def _lost(self, session: Session) -> Metric:
        """Counted from the events since the last scrape, so that a scrape costs the same on any day."""
        end = event_log.present_end(session)
        if self._read_to is not None:
            self._leases_lost += event_log.count_between(session, self._read_to, end, _LEASE_RAN_OUT)
        self._read_to = end
        lost = CounterMetricFamily(
            "mixwright_leases_expired", "Leases of runs that ran out since this process was first asked."
        )
        lost.add_metric([], self._leases_lost)
        return lost

    def _connections(self) -> Iterator[Metric]:
        pool = self._database.engine.pool
        if isinstance(pool, QueuePool):
            used = GaugeMetricFamily("mixwright_database_connections", "Connections of this process.", labels=["use"])
            used.add_metric(["busy"], pool.checkedout())
            used.add_metric(["idle"], pool.checkedin())
            yield used


def _hours(session: Session) -> Metric:
    """What runs took that have ended, of all studies."""
    spent = func.sum(Study.spent_gpu_seconds), func.sum(Study.spent_cpu_seconds)
    family = CounterMetricFamily(
        "mixwright_training_seconds", "Seconds that ended attempts have trained.", labels=["processor"]
    )
    for processor, seconds in zip(("gpu", "cpu"), session.execute(select(*spent)).one(), strict=True):
        family.add_metric([processor], seconds or 0.0)
    return family


def _by_state(name: str, text: str, session: Session, table: type[Run | Job], states: tuple[Any, ...]) -> Metric:
    counted = select(table.state, func.count()).where(table.state.in_(states)).group_by(table.state)
    found = {state: count for state, count in session.execute(counted)}  # noqa: C416 - rows are no pairs to the types
    family = GaugeMetricFamily(name, text, labels=["state"])
    for state in states:
        family.add_metric([state.value], found.get(state, 0))
    return family
