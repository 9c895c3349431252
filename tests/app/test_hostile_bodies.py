"""Bodies that no honest client sends are refused with a problem, on both databases, and nothing of them is stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from tests.app.study_bodies import create_study, queue_runs, register, study_body, weights

JSON = {"Content-Type": "application/json"}
LONG = 10**6
NUL = "a\\u0000b"
LONE_SURROGATE = "a\\ud800b"


def refused(answer: httpx.Response) -> dict[str, Any]:
    """The problem of a refusal; it can be written out and read again, whatever was sent."""
    assert 400 <= answer.status_code < 500, answer.text[:1000]
    assert answer.headers["content-type"] == "application/problem+json"
    problem = json.loads(answer.content)
    assert (problem["status"], bool(problem["title"]), bool(problem["detail"])) == (answer.status_code, True, True)
    assert len(answer.content) < 100_000, "a refusal does not send back what was sent"
    return problem


def written(name: str = '"a"', prior: str = "1", description: str = '""') -> str:
    """The body of a study as text, so that what JSON libraries do not write can stand in it."""
    return (
        f'{{"name": {name}, "description": {description}, "targets": [{{"name": "t"}}],'
        f' "domains": [{{"name": "d", "prior": {prior}}}]}}'
    )


def post(api: TestClient, content: str | bytes, headers: dict[str, str] | None = None) -> httpx.Response:
    return api.post("/v1/studies", content=content, headers=headers or JSON)  # type: ignore[return-value]


def studies(api: TestClient) -> int:
    return len(api.get("/v1/studies").json()["items"])


def test_the_written_body_is_accepted_when_nothing_is_wrong_with_it(api: TestClient) -> None:
    assert post(api, written()).status_code == 201


@pytest.mark.parametrize("text", [NUL, LONE_SURROGATE, "x" * LONG], ids=["nul", "surrogate", "long"])
def test_names_that_cannot_be_stored_are_refused(api: TestClient, text: str) -> None:
    refused(post(api, written(name=f'"{text}"')))
    refused(post(api, written(description=f'"{text}"')))
    assert studies(api) == 0


# Addresses and bodies with a place for a text.
PLACES = [
    ("/v1/agents", '{"name": "%s"}'),
    ("/v1/agents", '{"name": "a", "hostname": "%s"}'),
    ("/v1/keys", '{"name": "%s", "scopes": ["read"]}'),
    ("/v1/studies/{study}/targets", '{"name": "%s"}'),
    ("/v1/studies/{study}/targets", '{"name": "x", "definition": "%s"}'),
    ("/v1/studies/{study}/runs/cancel", '{"label": "%s"}'),
    ("/v1/studies/{study}/suggestions", '{"count": 1, "design": "%s"}'),
    ("/v1/studies/{study}/fits", '{"laws": ["%s"]}'),
    ("/v1/studies/{study}/schedules", '{"name": "%s", "kind": "refit", "cron": "0 2 * * *"}'),
    ("/v1/studies/{study}/schedules", '{"name": "s", "kind": "refit", "cron": "%s"}'),
    ("/v1/studies/{study}/schedules", '{"name": "s", "kind": "refit", "cron": "0 2 * * *", "time_zone": "%s"}'),
    ("/v1/studies/{study}/imports", '{"format": "%s"}'),
    ("/v1/studies/{study}/imports", '{"format": "wandb", "options": {"entity": "%s", "project": "p"}}'),
    ("/v1/runs/{run}/fail", '{"attempt": 1, "reason": "%s"}'),
    ("/v1/runs/claim", '{"agent_id": "{agent}", "max_runs": 1, "corpus_hashes": ["%s"]}'),
    (
        "/v1/studies/{study}/runs",
        '{"runs": [{"weights": {"%s": 1}, "losses": {"code": 2, "web": 3}}]}',
    ),
    (
        "/v1/studies/{study}/runs",
        '{"runs": [{"weights": {"code": 1}, "losses": {"code": 2, "web": 3}, "label": "%s"}]}',
    ),
    (
        "/v1/studies/{study}/runs",
        '{"runs": [{"weights": {"code": 1}, "losses": {"code": 2, "web": 3}, "external_id": "%s"}]}',
    ),
]


@pytest.mark.parametrize("text", [NUL, LONE_SURROGATE], ids=["nul", "surrogate"])
def test_no_text_of_a_body_brings_the_service_down(api: TestClient, text: str) -> None:
    study, agent = create_study(api), register(api)
    (run,) = queue_runs(api, study, 1)
    for address, body in PLACES:
        filled = address.format(study=study, run=run["id"])
        refused(api.post(filled, content=body.replace("{agent}", agent) % text, headers=JSON))  # type: ignore[arg-type]


QUERIES = ["name=%00", "name=%ff", "cursor=%00", "cursor=%ff", "limit=%00", "name=" + "x" * 9999]


def test_queries_that_are_no_text_are_refused_or_find_nothing(api: TestClient) -> None:
    create_study(api)
    for query in QUERIES:
        answer = api.get(f"/v1/studies?{query}")
        if answer.status_code == 200:
            assert answer.json()["items"] == []
        else:
            refused(answer)  # type: ignore[arg-type]


PATHS = ["%00", "%ff", "a%00b", "%F0%9F%98%80", "..%2f..", "x" * 5000]


def test_paths_that_name_nothing_are_refused(api: TestClient) -> None:
    study = create_study(api)
    for path in PATHS:
        for address in (f"/v1/studies/{path}", f"/v1/studies/{study}/targets/{path}", f"/v1/runs/{path}/cancel"):
            refused(api.get(address))  # type: ignore[arg-type]


def test_headers_that_are_no_versions_are_refused(api: TestClient) -> None:
    study = create_study(api)
    for given in (b"\xff", b'"', b"x" * 5000, b"W/", b",,,"):
        headers = {"If-Match": given, "If-None-Match": given}
        refused(api.patch(f"/v1/studies/{study}", json={"description": "x"}, headers=headers))  # type: ignore[arg-type]
        assert api.get(f"/v1/studies/{study}", headers=headers).status_code in (200, 422)


NO_NUMBERS = ["1e400", "-1e400", "NaN", "Infinity", "-Infinity", "9" * 5000, "true", '"1"']


def test_numbers_that_are_none_are_refused(api: TestClient) -> None:
    study = create_study(api)
    run = '{"runs": [{"weights": {"code": 0.5, "law": 0.3, "web": 0.2}, "losses": {"code": %s, "web": 3}}]}'
    address = f"/v1/studies/{study}/runs"
    for number in NO_NUMBERS:
        refused(post(api, written(prior=number)))
        refused(api.post(address, content=run % number, headers=JSON))  # type: ignore[arg-type]
        assert api.post(address, content=run % "2", headers=JSON).status_code == 201


TOO_LARGE = ["9" * 30, "-" + "9" * 30, str(2**63), "1.5", "1e30"]


def test_whole_numbers_that_no_column_holds_are_refused(api: TestClient) -> None:
    study = create_study(api)
    run = json.dumps({"weights": weights(0.5, 0.3, 0.2), "losses": {"code": 2, "web": 3}})
    for number in TOO_LARGE:
        for field in ("seed", "priority", "model_params", "train_tokens"):
            body = f'{{"runs": [{run[:-1]}, "{field}": {number}}}]}}'
            refused(api.post(f"/v1/studies/{study}/runs", content=body, headers=JSON))  # type: ignore[arg-type]
        for query in (f"limit={number}", f"model_params={number}"):
            refused(api.get(f"/v1/studies/{study}/runs?{query}"))  # type: ignore[arg-type]


NO_TIMES = ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "12", "1e400", "NaN", "2026-01-01T00:00:00"]


def test_times_that_are_none_are_refused(api: TestClient) -> None:
    study = create_study(api)
    for at in NO_TIMES:
        refused(api.get("/v1/events", params={"since": at}))  # type: ignore[arg-type]
        refused(api.get(f"/v1/studies/{study}/runs", params={"created_after": at}))  # type: ignore[arg-type]
        refused(api.post("/v1/keys", json={"name": "k", "scopes": ["read"], "expires_at": at}))  # type: ignore[arg-type]


BROKEN: dict[str, Callable[[], bytes]] = {
    "invalid UTF-8": lambda: written(name='"\udcff"').encode("utf-8", "surrogateescape"),
    "UTF-16": lambda: written().encode("utf-16"),
    "trailing garbage": lambda: written().encode() + b"}",
    "two values": lambda: written().encode() * 2,
    "a comma too many": lambda: written().replace("}]}", "}],}").encode(),
    "a comment": lambda: b"/* a study */" + written().encode(),
    "deep arrays": lambda: b"[" * 100_000 + b"]" * 100_000,
    "deep objects": lambda: b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep arrays in a field": lambda: written(prior="[" * 100_000 + "]" * 100_000).encode(),
    "an array": lambda: b"[" + written().encode() + b"]",
    "a text": lambda: json.dumps(written()).encode(),
    "null": lambda: b"null",
    "nothing": lambda: b"",
    "blanks": lambda: b" " * 1000,
}


def test_what_is_no_json_object_is_refused(api: TestClient) -> None:
    study = create_study(api)
    for name, broken in BROKEN.items():
        for address in ("/v1/studies", f"/v1/studies/{study}/imports", "/v1/imports", f"/v1/studies/{study}/runs"):
            answer = api.post(address, content=broken(), headers=JSON)
            assert refused(answer), f"{name} at {address}"  # type: ignore[arg-type]
    assert studies(api) == 1


def test_a_name_that_stands_twice_in_an_object_is_refused(api: TestClient) -> None:
    problem = refused(post(api, written().replace('"name": "a"', '"name": "a", "name": "b"')))
    assert "twice" in problem["detail"]
    assert problem["errors"][0]["field"] == "name"


OTHER_TYPES = ["text/plain", "application/xml", "application/x-www-form-urlencoded", "nonsense", ""]


def test_a_body_of_another_type_is_refused(api: TestClient) -> None:
    for kind in OTHER_TYPES:
        refused(post(api, written(), {"Content-Type": kind}))
        assert studies(api) == 0


def test_a_million_fields_are_refused_in_a_short_answer(api: TestClient) -> None:
    many = {f"field{number}": number for number in range(100_000)}
    assert len(refused(post(api, json.dumps(study_body() | many)))["errors"]) == 20
    assert len(refused(post(api, json.dumps(study_body(domains=[{"name": ""}] * LONG))))["errors"]) <= 20


def test_a_body_that_is_refused_can_be_sent_again_with_its_key(api: TestClient) -> None:
    headers = JSON | {"Idempotency-Key": "again"}
    refused(post(api, written(name=f'"{NUL}"'), headers))
    assert post(api, written(), headers).status_code == 201
    assert studies(api) == 1
