"""Refusals: RFC 9457 bodies that name the field and what would be accepted; never a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from app import errors
from app.errors import STATUS, ServiceError, status_of
from app.main import create_app
from app.migrate import upgrade
from app.settings import Settings
from mixers.errors import Infeasible
from tests.app.conftest import BEARER, LOCAL, OWNER_KEY
from tests.app.study_bodies import create_study, study_body


def _problem(response, status: int) -> dict:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    assert body["type"].startswith("urn:mixwright:problem:")
    assert body["title"]
    assert body["detail"]
    return body


def _all_errors() -> Iterator[type[Exception]]:
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, ServiceError):
            yield value


@pytest.mark.parametrize("kind", list(_all_errors()))
def test_every_error_has_a_sentence_of_its_own(kind: type[Exception]) -> None:
    assert kind.__doc__
    assert str(kind()) == kind.__doc__.strip().splitlines()[0]
    assert 400 <= status_of(kind()) < 600


def test_an_error_takes_the_status_of_its_nearest_base() -> None:
    assert status_of(errors.LeaseLost()) == STATUS[errors.Conflict] == 409
    assert status_of(Infeasible("x")) == 422
    assert status_of(ZeroDivisionError()) == 500


def test_a_missing_field_is_named(api: TestClient) -> None:
    body = _problem(api.post("/v1/studies", json={"name": "a", "targets": [{"name": "x"}]}), 422)
    assert body["errors"][0]["field"] == "domains"
    assert body["instance"] == "/v1/studies"


def test_an_unknown_field_is_named(api: TestClient) -> None:
    body = _problem(api.post("/v1/studies", json=study_body(doamins=[])), 422)
    assert {"field": "doamins", "message": "extra inputs are not permitted"}.items() <= body["errors"][0].items()


def test_a_wrong_choice_says_what_would_be_accepted(api: TestClient) -> None:
    targets = [{"name": "x", "direction": "up"}]
    error = _problem(api.post("/v1/studies", json=study_body(targets=targets)), 422)["errors"][0]
    assert error["field"] == "targets.0.direction"
    assert error["accepted"] == "'minimize' or 'maximize'"


def test_a_wrong_query_parameter_is_named(api: TestClient) -> None:
    body = _problem(api.get("/v1/studies", params={"limit": 0}), 422)
    assert body["errors"][0]["field"] == "limit"


def test_a_wrong_identifier_is_named(api: TestClient) -> None:
    assert _problem(api.get("/v1/runs/seven"), 422)["errors"][0]["field"] == "run_id"


@pytest.mark.parametrize("content", [b"{", b"not json", b"[1, 2", b"\xff\xfe", b'{"a": ' + b"[" * 100_000])
def test_a_body_that_is_not_json_is_refused(api: TestClient, content: bytes) -> None:
    response = api.post("/v1/studies", content=content, headers={"Content-Type": "application/json"})
    _problem(response, response.status_code)
    assert response.status_code in (400, 422)


def test_an_absent_body_is_refused(api: TestClient) -> None:
    assert _problem(api.post("/v1/studies"), 422)["errors"][0]["field"] == "body"


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-1", "1e400", "9" * 5000])
def test_numbers_outside_of_a_number_are_refused(api: TestClient, value: str) -> None:
    content = f'{{"name": "a", "domains": [{{"name": "a", "prior": {value}}}], "targets": [{{"name": "t"}}]}}'
    response = api.post("/v1/studies", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code in (400, 422)
    _problem(response, response.status_code)


def test_the_number_of_listed_errors_is_bounded(api: TestClient) -> None:
    runs = [{"weights": {"a": -1}} for _ in range(500)]
    body = _problem(api.post(f"/v1/studies/{create_study(api)}/runs", json={"runs": runs}), 422)
    assert len(body["errors"]) == 20
    assert "and 499 more" in body["detail"]


def test_an_unknown_path_points_to_the_api(api: TestClient) -> None:
    assert "/v1/openapi.json" in _problem(api.get("/v2/studies"), 404)["detail"]


def test_a_wrong_method_names_the_right_ones(api: TestClient) -> None:
    response = api.delete("/v1/studies")
    assert "accepted:" in _problem(response, 405)["detail"]
    assert response.headers["allow"]


def test_a_wrong_method_names_those_of_every_route_of_the_address(api: TestClient) -> None:
    response = api.delete(f"/v1/studies/{create_study(api)}")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, PATCH")


def test_names_with_markup_and_statements_are_only_names(api: TestClient) -> None:
    name = "<script>alert(1)</script>'; DROP TABLE studies; --"
    study = api.post("/v1/studies", json=study_body(name=name)).json()
    assert api.get(f"/v1/studies/{study['id']}").json()["name"] == name


def _small(tmp_path: Path) -> TestClient:
    settings = Settings(data_dir=tmp_path, max_body_bytes=2048, api_key=SecretStr(OWNER_KEY))
    upgrade(settings)
    return TestClient(create_app(settings), base_url=LOCAL, headers=BEARER)


def test_a_declared_length_above_the_limit_is_refused_unread(tmp_path: Path) -> None:
    body = _problem(_small(tmp_path).post("/v1/studies", json=study_body(description="x" * 4000)), 413)
    assert "at most 2048 bytes" in body["detail"]


def test_a_stream_without_a_length_is_cut_at_the_limit(tmp_path: Path) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(10_000):
            sent += 1024
            yield b" " * 1024

    response = _small(tmp_path).post("/v1/studies", content=endless(), headers={"Content-Type": "application/json"})
    assert "at most 2048 bytes" in _problem(response, 413)["detail"]


def test_a_mistake_of_ours_is_a_problem_without_its_traceback(settings: Settings) -> None:
    def broken_clock():
        raise ZeroDivisionError("secret detail")

    api = TestClient(create_app(settings, broken_clock), base_url=LOCAL, headers=BEARER)
    response = api.post("/v1/studies", json=study_body(), headers={"X-Request-ID": "abc"})
    body = _problem(response, 500)
    assert "secret detail" not in response.text
    assert "request id abc" in body["detail"]
    assert response.headers["content-security-policy"]


def test_a_request_id_that_could_forge_a_log_line_is_replaced(api: TestClient) -> None:
    assert api.get("/healthz", headers={"X-Request-ID": "a" * 64}).headers["x-request-id"] == "a" * 64
    for forged in ("a b", "x" * 65, '{"level":"error"}'):
        assert api.get("/healthz", headers={"X-Request-ID": forged}).headers["x-request-id"] != forged
