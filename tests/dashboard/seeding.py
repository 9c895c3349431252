"""A study filled through the public API as an agent fills it: planted losses, a fit, weights, a verification."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np

from app.settings import Settings
from app.worker import Worker

NAMES = ("code", "law", "web")
PRIOR = np.array([0.5, 0.3, 0.2])
CORPUS = "corpus-a"
SETTINGS = {"corpus_hash": CORPUS, "train_tokens": 4096, "measure_at_tokens": [1024, 2048, 4096]}
LAWS = ["mean", "regmix_linear", "log_linear"]
# L_i(p) = c_i + exp(t_i . p): the log-linear law with planted parameters, one row a target.
_OFFSET = np.array([1.0, 1.5])
_SLOPES = np.array([[-1.2, 0.3, 0.1], [0.2, 0.4, -0.9]])


def study_body(**changes: Any) -> dict[str, Any]:
    domains = [
        {"name": "code", "available_tokens": 5_000, "source": "programs of the example", "licence": "MIT"},
        {"name": "law", "available_tokens": 3_000, "source": "statutes of the example", "licence": "CC0-1.0"},
        {"name": "web", "available_tokens": 2_000},
    ]
    body: dict[str, Any] = {
        "name": "three domains",
        "domains": domains,
        "targets": [{"name": "code", "weight": 3.0}, {"name": "web", "weight": 1.0}],
        "objective": {"kl_to_prior": 0.02},
        "constraints": {"target_tokens": 10_000, "max_epochs": 2.5},
    }
    return body | changes


def create_study(api: httpx.Client, **changes: Any) -> str:
    return _post(api, "/v1/studies", study_body(**changes))["id"]


def queue(api: httpx.Client, study: str, count: int, seed: int = 7, **changes: Any) -> list[dict[str, Any]]:
    mixtures = np.random.default_rng(seed).dirichlet(4 * PRIOR, count).tolist()
    runs = [
        {"weights": dict(zip(NAMES, p, strict=True)), "settings": SETTINGS, "label": f"run {i:02d}"} | changes
        for i, p in enumerate(mixtures)
    ]
    return _post(api, f"/v1/studies/{study}/runs", {"runs": runs})["runs"]


def train(api: httpx.Client, count: int, failing: int = 0) -> None:
    """Claim ``count`` runs as an agent does, and report what the planted law measures; the first ones fail."""
    agent = _post(api, "/v1/agents", {"name": "agent"})["id"]
    body = {"agent_id": agent, "max_runs": count, "corpus_hashes": [CORPUS], "lease_seconds": 3600}
    for i, held in enumerate(_post(api, "/v1/runs/claim", body)["runs"]):
        path, attempt = f"/v1/runs/{held['run_id']}", {"attempt": held["attempt"]}
        if i < failing:
            _post(api, f"{path}/fail", attempt | {"reason": "the loss became infinite", "retry": False})
            continue
        p = np.array([held["spec"]["stages"][0]["weights"].get(name, 0.0) for name in NAMES])
        noise = np.random.default_rng([held["spec"]["seed"], i]).normal(0, 0.002, 2)
        points = [
            {"train_tokens": tokens, "losses": _measured(p, 0.5 * (4096 / tokens - 1) + noise)}
            for tokens in SETTINGS["measure_at_tokens"]
        ]
        for point in points:
            _post(api, f"{path}/measurements", attempt | {"point": point})
        result = {"status": "succeeded", "train_tokens": 4096, "losses": points[-1]["losses"], "trajectory": points}
        _post(api, f"{path}/complete", attempt | {"result": result | {"wall_seconds": 1.5}})


def _measured(p: np.ndarray, above: np.ndarray | float) -> dict[str, Any]:
    losses = _OFFSET + np.exp(_SLOPES @ p) + above
    return {
        name: {"value": value, "stderr": 0.01} for name, value in zip(("code", "web"), losses.tolist(), strict=True)
    }


def work(settings: Settings) -> None:
    """Let a worker do everything that waits."""
    worker = Worker(settings)
    while worker.work_once():
        pass


def fill(api: httpx.Client, settings: Settings, **changes: Any) -> dict[str, Any]:
    """A verified study: 24 runs of which 2 failed, a fit, a recommendation and three arms with three seeds."""
    study = create_study(api, **changes)
    queue(api, study, 24)
    train(api, 24, failing=2)
    fit = _post(api, f"/v1/studies/{study}/fits", {"laws": LAWS})["id"]
    work(settings)
    recommendation = _post(api, f"/v1/studies/{study}/recommendations", {"fit_id": fit})["id"]
    work(settings)
    path = f"/v1/recommendations/{recommendation}"
    _post(api, f"{path}/verifications", {"settings": SETTINGS, "seeds": [1, 2, 3]})
    train(api, 9)
    return {"study": study, "fit": fit, "recommendation": recommendation}


def _post(api: httpx.Client, path: str, body: dict[str, Any]) -> Any:
    response = api.post(path, json=body)
    assert response.is_success, response.text
    return response.json() if response.content else None
