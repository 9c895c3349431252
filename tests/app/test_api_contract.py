"""The API keeps to its own description, whatever it is sent.

Cases are made from the OpenAPI document and checked against it. MIXWRIGHT_LONG_TESTS tries everything on each database;
without it the systematic cases are shared out between the databases, each operation's on one of them.
"""

from __future__ import annotations

import os
import random
import sys

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import ENV_PREFIX, Settings
from tests.app.conftest import BEARER, LOCAL, StandingClock
from tests.app.contract_run import HOST, Effort, try_everything
from tests.app.stocked_service import Known, stock

LONG = bool(os.environ.get(f"{ENV_PREFIX}LONG_TESTS"))
FEWEST_OF_LONG = 5_000


@pytest.fixture
def open_settings(settings: Settings) -> Settings:
    """Without rate limits, and known under the name that the cases are sent to."""
    many = "1000000/second"
    return settings.model_copy(update={"rate_limit": many, "failed_login_limit": many, "allowed_hosts": (HOST,)})


@pytest.fixture
def known(open_settings: Settings, clock: StandingClock) -> Known:
    with TestClient(create_app(open_settings, clock), base_url=LOCAL, headers=BEARER) as api:
        return stock(api, open_settings, clock)


def effort(app: FastAPI, backend: str) -> Effort:
    if LONG:
        return Effort(examples=40, sequences=60, seed=random.SystemRandom().randrange(2**32))
    names = sorted(each["operationId"] for path in app.openapi()["paths"].values() for each in path.values())
    return Effort(examples=2, sequences=2, seed=1, not_covered=names[backend == "sqlite" :: 2])


def test_every_answer_is_as_described(
    open_settings: Settings, known: Known, backend: str, clock: StandingClock, capsys: pytest.CaptureFixture[str]
) -> None:
    app = create_app(open_settings, clock)
    tried = effort(app, backend)
    outcome = try_everything(app, known, tried)
    if LONG:
        with capsys.disabled():
            sys.stdout.write(f"\n{backend}, seed {tried.seed}: {outcome}\n")
    assert not outcome.failures, f"seed {tried.seed}\n{outcome.told()}"
    assert len(outcome.statuses) > 75, "operations were left out"
    assert not LONG or outcome.calls.total() >= FEWEST_OF_LONG
