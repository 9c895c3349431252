"""A POST with an Idempotency-Key is carried out once, whatever happens in between."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db import Database
from app.idempotency import OneCall, forget_old_calls
from app.main import create_app
from app.models import IdempotentCall, Study
from app.settings import Settings
from tests.app.conftest import BEARER, LOCAL, StandingClock
from tests.app.study_bodies import study_body

ONCE = {"Idempotency-Key": "order-1"}


def count(database: Database, table: type) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_the_second_call_gets_the_first_answer_and_changes_nothing(api: TestClient, database: Database) -> None:
    first = api.post("/v1/studies", json=study_body(), headers=ONCE)
    second = api.post("/v1/studies", json=study_body(), headers=ONCE)
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.content == first.content
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert count(database, Study) == 1


def test_without_a_key_every_call_counts(api: TestClient, database: Database) -> None:
    for _ in range(2):
        assert api.post("/v1/studies", json=study_body()).status_code == 201
    assert count(database, Study) == 2


def test_a_key_that_was_used_for_another_body_is_refused(api: TestClient, database: Database) -> None:
    api.post("/v1/studies", json=study_body(), headers=ONCE)
    other = api.post("/v1/studies", json=study_body() | {"name": "another"}, headers=ONCE)
    assert other.status_code == 422
    assert other.json()["detail"].startswith("idempotency-key: was used for another call")
    assert count(database, Study) == 1


@pytest.mark.parametrize("key", ["", " ", "a b", "k" * 201, "schlüssel".encode("latin-1")])
def test_a_key_that_is_none_is_refused(api: TestClient, key: str | bytes) -> None:
    answer = api.post("/v1/studies", json=study_body(), headers={"Idempotency-Key": key})
    assert answer.status_code == 422
    assert "1 to 200 visible ASCII characters" in answer.json()["detail"]


def test_a_refused_call_may_be_tried_again_with_its_key(api: TestClient, database: Database) -> None:
    wrong = study_body() | {"domains": []}
    assert api.post("/v1/studies", json=wrong, headers=ONCE).status_code == 422
    assert api.post("/v1/studies", json=study_body(), headers=ONCE).status_code == 201
    assert count(database, Study) == 1


def test_a_process_that_dies_before_the_answer_leaves_nothing(
    api: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(OneCall, "finish", die)
        api.post("/v1/studies", json=study_body(), headers=ONCE)
    assert (count(database, Study), count(database, IdempotentCall)) == (0, 0)
    assert api.post("/v1/studies", json=study_body(), headers=ONCE).status_code == 201
    assert count(database, Study) == 1


def test_an_answer_that_cannot_be_stored_takes_the_change_back(
    api: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(_: Session) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Session, "commit", full_disk)
        api.post("/v1/studies", json=study_body(), headers=ONCE)
    assert count(database, Study) == 0


def test_calls_at_the_same_moment_are_one_call(api: TestClient, database: Database) -> None:
    together = threading.Barrier(8)

    def call(_: int) -> tuple[int, str]:
        together.wait()
        answer = api.post("/v1/studies", json=study_body(), headers=ONCE)
        return answer.status_code, answer.json()["id"]

    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(call, range(8)))
    assert len(answers) == 1
    assert next(iter(answers))[0] == 201
    assert count(database, Study) == 1


def test_answers_are_forgotten_after_a_day(api: TestClient, database: Database, clock: StandingClock) -> None:
    api.post("/v1/studies", json=study_body(), headers=ONCE)
    for hours, left in ((23, 1), (25, 0)):
        clock.advance(hours * 3600 if left else 2 * 3600)
        with database.write() as session:
            forget_old_calls(session, clock())
        assert count(database, IdempotentCall) == left


def test_a_body_that_is_too_large_is_refused_with_a_key_too(settings: Settings) -> None:
    small = settings.model_copy(update={"max_body_bytes": 1024})
    api = TestClient(create_app(small), base_url=LOCAL, headers=BEARER)
    answer = api.post("/v1/studies", content=(b" " * 512 for _ in range(9)), headers=ONCE)
    assert answer.status_code == 413
    assert answer.json()["detail"] == "the body is too large; accepted: at most 1024 bytes"


def test_more_calls_than_threads_do_not_wait_for_each_other(api: TestClient, database: Database) -> None:
    """Each call holds its turn to write until its answer is stored, and storing it takes a thread as well.

    Calls that waited for each other would give up in time, and would not be answered with 201.
    """
    together = threading.Barrier(80)

    def call(number: int) -> int:
        together.wait()
        return api.post("/v1/studies", json=study_body(), headers={"Idempotency-Key": f"key-{number}"}).status_code

    with ThreadPoolExecutor(80) as pool:
        assert set(pool.map(call, range(80))) == {201}
    assert count(database, Study) == 80
