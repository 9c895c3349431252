"""A service that holds something of everything, so that calls with made-up values find what they name."""

from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient

from app.settings import Settings
from tests.app.study_bodies import CORPUS, claim, create_study, queue_runs, register, result
from tests.app.test_fit_and_recommend import make_fit, make_recommendation, report_runs

# By the name that a path, a query or a body gives it: identifiers of what is there.
Known = dict[str, list[str]]


def stock(api: TestClient, settings: Settings, clock: Any) -> Known:
    """Fill the service of ``api``: runs in every state, fits and recommendations in two, one of each other resource."""
    study, second = create_study(api), create_study(api, name="second")
    report_runs(api, study, 12)
    fit = make_fit(api, study, settings, clock, laws=["mean", "log_linear"])["id"]
    recommendation = make_recommendation(api, study, settings, clock, fit_id=fit)["id"]
    agent = register(api)
    held = _runs(api, study, agent)
    waiting = _made(api, f"/v1/studies/{study}/fits", {"laws": ["mean"]})
    schedule = _made(api, f"/v1/studies/{study}/schedules", {"name": "nightly", "kind": "refit", "cron": "0 2 * * *"})
    _made(api, f"/v1/schedules/{schedule}/fire", {})
    domain_set = api.get(f"/v1/studies/{study}").json()["domain_set"]["id"]
    bound = api.put(f"/v1/domain-sets/{domain_set}/bindings/megatron", json={"paths": {"web": ["/w"], "code": ["/c"]}})
    assert bound.status_code == 201, bound.text
    report = _imported(api, study)
    return {
        "study_id": [study, second],
        "domain_set_id": [domain_set],
        "trainer": ["megatron", "olmo-core"],
        "name": ["code", "web"],
        "run_id": [*held, *(run["id"] for run in api.get(f"/v1/studies/{study}/runs").json()["items"][-6:])],
        "agent_id": [agent],
        "fit_id": [fit, waiting],
        "recommendation_id": [recommendation],
        "format_name": ["megatron", "json", "csv", "olmix"],
        "schedule_id": [schedule],
        "import_id": [report],
        "key_id": [_made(api, "/v1/keys", {"name": "reader", "scopes": ["read"]})],
        "corpus_hash": [CORPUS],
    }


def _runs(api: TestClient, study: str, agent: str) -> list[str]:
    """Runs in every state; the identifiers of those that ``agent`` holds."""
    queued = [run["id"] for run in queue_runs(api, study, 12)]
    held = [run["run_id"] for run in claim(api, agent, max_runs=8)]
    for run, call, body in (
        (held[0], "complete", {"attempt": 1, "result": result()}),
        (held[1], "fail", {"attempt": 1, "reason": "broke", "retry": False}),
        (held[2], "prune", None),
        (next(run for run in queued if run not in held), "cancel", None),
    ):
        answer = api.post(f"/v1/runs/{run}/{call}", json=body)
        assert answer.status_code in (200, 204), answer.text
    return held[3:]


def _made(api: TestClient, address: str, body: dict[str, Any]) -> str:
    answer = api.post(address, json=body)
    assert answer.status_code in (201, 202), answer.text
    return answer.json()["id"]


def _imported(api: TestClient, study: str) -> str:
    line = '{"id": "a", "weights": {"code": 0.5, "law": 0.3, "web": 0.2}, "losses": {"code": 2.0, "web": 3.0}}'
    answer = api.post(
        f"/v1/studies/{study}/imports",
        data={"settings": '{"format": "jsonl"}'},
        files=[("files", ("runs.jsonl", line.encode()))],
    )
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]
