"""The web application: routes, middleware and the database, put together for given settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from app.body_limit import BodyLimit
from app.clean_input import CleanInput
from app.clock import Clock, utc_now
from app.credentials import Credentials
from app.dashboard.pages import mount
from app.db import Database
from app.event_watch import EventWatch
from app.gate import Gate
from app.idempotency import Idempotency
from app.job_watch import JobWatch
from app.metrics import Metrics
from app.openapi import describe, operation_id
from app.problems import install_problem_handlers
from app.rate_limits import RateLimits
from app.recent_values import RecentValues
from app.request_log import RequestLog
from app.routes import (
    agents,
    bindings,
    charts,
    domain_sets,
    events,
    exports,
    fits,
    health,
    imports,
    keys,
    recommendations,
    runs,
    schedules,
    studies,
    targets,
    weights,
)
from app.routes.known_parameters import ONLY_KNOWN
from app.security import API_PREFIX, HiddenLoginToken, SecurityHeaders
from app.settings import Settings
from app.whole_body import WholeBody
from app.write_slots import WriteSlots


def create_app(settings: Settings, clock: Clock = utc_now) -> FastAPI:
    """The application for ``settings``; its database must have been migrated. ``clock`` says what time it is."""
    database = Database(settings.resolved_database_url)
    credentials = Credentials(database, settings.api_key, clock)
    limits = RateLimits(settings.rate_limit, settings.failed_login_limit)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.closing = asyncio.Event()
        yield
        credentials.close()
        database.dispose()

    app = FastAPI(
        title="Mixwright",
        description="Chooses the data mixture of language-model pretraining.",
        openapi_url=f"{API_PREFIX}/openapi.json",
        # The interactive pages load scripts from elsewhere, which our content security policy forbids.
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=operation_id,
        lifespan=lifespan,
    )
    app.state.settings, app.state.database, app.state.clock = settings, database, clock
    app.state.job_watch, app.state.recent_values = JobWatch(database), RecentValues()
    app.state.event_watch = EventWatch(database)
    app.state.metrics = metrics = Metrics(database)
    app.state.credentials, app.state.rate_limits = credentials, limits
    # /runs/claim must be known before /runs/{run_id}.
    resources = (agents, studies, domain_sets, bindings, targets, runs, fits, recommendations, weights, charts)
    for routes in (*resources, imports, schedules, events, keys):
        app.include_router(routes.router, prefix=API_PREFIX, dependencies=[ONLY_KNOWN])
    # What the query of an export may hold depends on its format.
    app.include_router(exports.router, prefix=API_PREFIX)
    app.include_router(health.router)
    app.openapi = describe(app)
    mount(app)
    install_problem_handlers(app)
    # The last one added is the first to see a request.
    app.add_middleware(Idempotency, database=database, clock=clock, prefix=API_PREFIX)
    app.add_middleware(WriteSlots)
    imports_at = rf"{API_PREFIX}/(studies/[^/]+/)?imports"
    app.add_middleware(CleanInput, prefix=API_PREFIX, own=imports_at)
    app.add_middleware(WholeBody)
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes, larger={imports_at: settings.max_import_bytes})
    app.add_middleware(Gate, settings=settings, credentials=credentials, limits=limits)
    app.add_middleware(RequestLog, metrics=metrics)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(HiddenLoginToken)
    return app
