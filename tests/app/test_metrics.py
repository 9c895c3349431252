"""Prometheus reads requests by route and the depth of the queues, with a key."""

from __future__ import annotations

from uuid import UUID

from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from tests.app.conftest import StandingClock
from tests.app.study_bodies import claim, create_study, queue_runs, register, result


def _numbers(api: TestClient) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    response = api.get("/metrics")
    assert response.status_code == 200, response.text
    samples = [sample for family in text_string_to_metric_families(response.text) for sample in family.samples]
    return {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}


def _of(api: TestClient, name: str, **labels: str) -> float | None:
    return _numbers(api).get((name, frozenset(labels.items())))


def test_requests_are_counted_by_the_template_of_their_route(api: TestClient) -> None:
    study = create_study(api)
    for _ in range(3):
        api.get(f"/v1/studies/{study}")
    api.get(f"/v1/studies/{UUID(int=0)}")
    route = {"method": "GET", "route": "/v1/studies/{study_id}"}
    assert _of(api, "mixwright_request_seconds_count", **route, status="200") == 3
    assert _of(api, "mixwright_request_seconds_count", **route, status="404") == 1
    assert not any(study in value for _, labels in _numbers(api) for _, value in labels)


def test_addresses_that_callers_make_up_are_one_series(api: TestClient) -> None:
    for i in range(5):
        api.request("PROPFIND", f"/nowhere/{i}", headers={"Origin": "http://127.0.0.1:8321"})
    found = {labels for name, labels in _numbers(api) if name == "mixwright_request_seconds_count"}
    assert sum(("route", "other") in labels for labels in found) == 1


def test_the_depth_of_the_queues_and_lost_leases_are_told(api: TestClient, clock: StandingClock) -> None:
    queue_runs(api, create_study(api), 5)
    agent = register(api)
    claim(api, agent, max_runs=2)
    assert _of(api, "mixwright_runs", state="queued") == 3
    assert _of(api, "mixwright_runs", state="leased") == 2
    assert _of(api, "mixwright_jobs", state="running") == 0
    assert _of(api, "mixwright_leases_expired_total") == 0
    clock.advance(3600)
    claim(api, agent, max_runs=1)  # finds the two whose leases ran out
    assert _of(api, "mixwright_leases_expired_total") == 2
    assert (_of(api, "mixwright_database_connections", use="idle") or 0) >= 1


def test_the_hours_of_all_studies_are_told_by_processor(api: TestClient) -> None:
    agent = register(api)
    for processor, seconds in (("gpu", 60.0), ("cpu", 7.0), ("cpu", 3.0)):
        queue_runs(api, create_study(api), 1)
        (run,) = claim(api, agent, processor=processor)
        done = {"attempt": 1, "result": result(wall_seconds=seconds)}
        assert api.post(f"/v1/runs/{run['run_id']}/complete", json=done).status_code == 204
    assert _of(api, "mixwright_training_seconds_total", processor="gpu") == 60
    assert _of(api, "mixwright_training_seconds_total", processor="cpu") == 10


def test_metrics_need_a_key(api: TestClient) -> None:
    assert api.get("/metrics", headers={"Authorization": ""}).status_code == 401


def test_a_key_of_one_study_reads_no_numbers_of_all(api: TestClient) -> None:
    body = {"name": "bound", "scopes": ["read"], "study_id": create_study(api)}
    key = api.post("/v1/keys", json=body).json()["key"]
    assert api.get("/metrics", headers={"Authorization": f"Bearer {key}"}).status_code == 403
