"""Request bodies that the tests of the service share."""

from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient

CORPUS = "corpus-a"
SETTINGS: dict[str, Any] = {"corpus_hash": CORPUS, "train_tokens": 4096}


def study_body(**changes: Any) -> dict[str, Any]:
    """Three domains with priors 0.5, 0.3, 0.2 and two targets of unequal weight."""
    body: dict[str, Any] = {
        "name": "three domains",
        "domains": [
            {"name": "code", "available_tokens": 5_000},
            {"name": "law", "available_tokens": 3_000},
            {"name": "web", "available_tokens": 2_000},
        ],
        "targets": [{"name": "code", "weight": 3.0}, {"name": "web", "weight": 1.0}],
    }
    return body | changes


def weights(code: float, law: float, web: float) -> dict[str, float]:
    return {"code": code, "law": law, "web": web}


def create_study(api: TestClient, **changes: Any) -> str:
    response = api.post("/v1/studies", json=study_body(**changes))
    assert response.status_code == 201, response.text
    return response.json()["id"]


def queue_runs(api: TestClient, study: str, count: int, **changes: Any) -> list[dict[str, Any]]:
    """Queued runs that one stack can train, unless ``changes`` says otherwise; again when they are there already."""
    run = {"weights": weights(0.5, 0.3, 0.2), "settings": SETTINGS} | changes
    body = {"runs": [run | {"seed": seed} for seed in range(count)], "repeat": True}
    response = api.post(f"/v1/studies/{study}/runs", json=body)
    assert response.status_code == 201, response.text
    return response.json()["runs"]


def register(api: TestClient) -> str:
    return api.post("/v1/agents", json={"name": "agent"}).json()["id"]


def claim(api: TestClient, agent: str, max_runs: int = 100, **changes: Any) -> list[dict[str, Any]]:
    body = {"agent_id": agent, "max_runs": max_runs, "corpus_hashes": [CORPUS], "lease_seconds": 30} | changes
    response = api.post("/v1/runs/claim", json=body)
    assert response.status_code == 200, response.text
    return response.json()["runs"]


def result(code: float = 2.0, web: float = 3.0, **changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = {
        "status": "succeeded",
        "train_tokens": 4096,
        "losses": {"code": {"value": code, "stderr": 0.01}, "web": {"value": web}},
        "realised_weights": weights(0.5, 0.3, 0.2),
        "wall_seconds": 1.5,
    }
    return body | changes


def get_run(api: TestClient, run_id: str) -> dict[str, Any]:
    return api.get(f"/v1/runs/{run_id}").json()
