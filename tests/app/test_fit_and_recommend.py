"""From measured runs to verified weights, through the API and the job worker, on losses whose law is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from app.settings import Settings
from app.worker import Worker
from mixers.laws import LAWS
from tests.app.conftest import BEARER, LOCAL
from tests.app.study_bodies import SETTINGS, claim, create_study, queue_runs, register, weights

NAMES = ("code", "law", "web")
# L_i(p) = c_i + exp(t_i . p): the log-linear law with planted parameters, one row a target.
OFFSET = np.array([1.0, 1.5])
SLOPES = np.array([[-1.2, 0.3, 0.1], [0.2, 0.4, -0.9]])
LAWS_USED = ["mean", "regmix_linear", "log_linear"]


def true_losses(p: np.ndarray) -> np.ndarray:
    return OFFSET + np.exp(p @ SLOPES.T)


def report_runs(api: TestClient, study: str, count: int = 24, noise: float = 0.001, negate_web: bool = False) -> None:
    """Runs of Dirichlet mixtures whose losses follow the planted law."""
    rng = np.random.default_rng(7)
    p = rng.dirichlet(np.ones(3), count)
    losses = true_losses(p) + rng.normal(0, noise, (count, 2))
    sign = -1 if negate_web else 1
    runs = [
        {"weights": dict(zip(NAMES, row, strict=True)), "losses": {"code": code, "web": sign * web}}
        for row, (code, web) in zip(p.tolist(), losses.tolist(), strict=True)
    ]
    assert api.post(f"/v1/studies/{study}/runs", json={"runs": runs}).status_code == 201


def work(settings: Settings, clock: Any) -> None:
    """Let a worker do everything that waits."""
    with Worker(settings, clock) as worker:
        while worker.work_once():
            pass


def make_fit(api: TestClient, study: str, settings: Settings, clock: Any, **body: Any) -> dict[str, Any]:
    response = api.post(f"/v1/studies/{study}/fits", json={"laws": LAWS_USED, "folds": 3} | body)
    assert response.status_code == 202, response.text
    assert response.json()["state"] == "queued"
    work(settings, clock)
    return api.get(response.headers["location"]).json()


def make_recommendation(api: TestClient, study: str, settings: Settings, clock: Any, **body: Any) -> dict[str, Any]:
    response = api.post(f"/v1/studies/{study}/recommendations", json=body)
    assert response.status_code == 202, response.text
    work(settings, clock)
    return api.get(response.headers["location"]).json()


def measured_study(api: TestClient) -> str:
    """A study whose runs are reported, with an objective of losses alone."""
    made = create_study(api, objective={"kl_to_prior": 0.0})
    report_runs(api, made)
    return made


@pytest.fixture
def study(api: TestClient) -> str:
    return measured_study(api)


@pytest.fixture
def fit(api: TestClient, study: str, settings: Settings, clock) -> dict[str, Any]:
    return make_fit(api, study, settings, clock)


def test_a_fit_ranks_the_planted_law_first(fit: dict[str, Any]) -> None:
    assert (fit["state"], fit["progress"], fit["error"]) == ("succeeded", 1.0, None)
    assert fit["runs_used"] == 24
    assert fit["chosen_law"] == "log_linear"
    assert "Spearman" in fit["reason"]
    by_law = {row["law"]: row for row in fit["fidelity"]}
    assert list(by_law) == LAWS_USED
    assert by_law["log_linear"]["objective_r2"] > 0.99
    assert by_law["mean"]["objective_r2"] <= 0
    assert [row["target"] for row in by_law["log_linear"]["targets"]] == ["code", "web"]
    assert by_law["log_linear"]["objective_mae"] < by_law["regmix_linear"]["objective_mae"]


def test_a_run_that_diverged_is_named_and_left_out(api: TestClient, study: str, settings: Settings, clock) -> None:
    wild = {"weights": dict.fromkeys(NAMES, 1 / 3), "losses": {"code": 1e6, "web": 2.0}}
    assert api.post(f"/v1/studies/{study}/runs", json={"runs": [wild]}).status_code == 201
    fit = make_fit(api, study, settings, clock)
    assert fit["chosen_law"] == "log_linear"
    assert "1 measurement is too far off to be data and left out: code of run" in fit["reason"]


def test_out_of_fold_points_show_what_was_reported(api: TestClient, study: str, fit: dict[str, Any]) -> None:
    runs = {run["id"]: run for run in api.get(f"/v1/studies/{study}/runs").json()["items"]}
    url = f"/v1/fits/{fit['id']}/out-of-fold"
    for target in ("code", "web"):
        points = api.get(url, params={"target": target, "law": "log_linear"}).json()["points"]
        assert [p["observed"] for p in points] == [runs[p["run_id"]]["losses"][target]["value"] for p in points]
    objective = api.get(url).json()
    assert (objective["law"], objective["target"]) == ("log_linear", None)
    losses = [runs[p["run_id"]]["losses"] for p in objective["points"]]
    expected = [0.75 * row["code"]["value"] + 0.25 * row["web"]["value"] for row in losses]
    assert [p["observed"] for p in objective["points"]] == pytest.approx(expected)
    errors = [abs(p["observed"] - p["predicted"]) for p in objective["points"]]
    by_law = {row["law"]: row for row in fit["fidelity"]}
    assert np.mean(errors) == pytest.approx(by_law["log_linear"]["objective_mae"])


def test_predictions_follow_the_planted_law_with_intervals(api: TestClient, fit: dict[str, Any]) -> None:
    p = np.array([[0.2, 0.3, 0.5], [1 / 3, 1 / 3, 1 / 3]])
    body = {"weights": [dict(zip(NAMES, row, strict=True)) for row in p.tolist()]}
    answer = api.post(f"/v1/fits/{fit['id']}/predictions", json=body).json()
    assert answer["law"] == "log_linear"
    for row, prediction in zip(true_losses(p), answer["predictions"], strict=True):
        targets = prediction["targets"]
        assert [targets["code"]["mean"], targets["web"]["mean"]] == pytest.approx(row, abs=0.01)
        assert prediction["objective"]["mean"] == pytest.approx(row @ [0.75, 0.25], abs=0.01)
        for interval in (*targets.values(), prediction["objective"]):
            assert interval["low"] < interval["mean"] < interval["high"]


def test_predictions_name_a_wrong_law_and_wrong_weights(api: TestClient, fit: dict[str, Any]) -> None:
    url = f"/v1/fits/{fit['id']}/predictions"
    wrong_law = api.post(url, json={"weights": [weights(1, 0, 0)], "law": "bimix"})
    assert wrong_law.status_code == 422
    assert wrong_law.json()["errors"][0]["accepted"] == "mean, regmix_linear, log_linear"
    wrong_weights = api.post(url, json={"weights": [weights(1, 0, 0), weights(1, 1, 0)]})
    assert wrong_weights.json()["errors"][0]["field"] == "weights.1"


def test_a_maximised_target_is_shown_in_its_own_direction(api: TestClient, settings: Settings, clock) -> None:
    """Reporting the negated loss as a metric to maximise gives the same laws and the same recommendation."""
    minimised, maximised = (
        create_study(api, targets=[{"name": "code", "weight": 3}, {"name": "web", "direction": direction}])
        for direction in ("minimize", "maximize")
    )
    report_runs(api, minimised)
    report_runs(api, maximised, negate_web=True)
    plain, turned = (make_fit(api, each, settings, clock, laws=["log_linear"]) for each in (minimised, maximised))
    for a, b in zip(plain["fidelity"][0]["targets"], turned["fidelity"][0]["targets"], strict=True):
        assert [a["spearman"], a["mae"], a["r2"]] == pytest.approx([b["spearman"], b["mae"], b["r2"]])
    body = {"weights": [weights(0.2, 0.3, 0.5)]}
    a, b = (
        api.post(f"/v1/fits/{fit['id']}/predictions", json=body).json()["predictions"][0] for fit in (plain, turned)
    )
    assert b["targets"]["web"]["mean"] == pytest.approx(-a["targets"]["web"]["mean"])
    assert b["targets"]["web"]["low"] == pytest.approx(-a["targets"]["web"]["high"])
    assert b["objective"] == pytest.approx(a["objective"])
    points = api.get(f"/v1/fits/{turned['id']}/out-of-fold", params={"target": "web"}).json()["points"]
    assert all(point["observed"] < 0 and point["predicted"] < 0 for point in points)


def test_excluded_and_unfinished_runs_do_not_enter_a_fit(api: TestClient, settings: Settings, clock) -> None:
    study = create_study(api)
    report_runs(api, study)
    queue_runs(api, study, 2)
    poison = {"weights": weights(1, 0, 0), "losses": {"code": 1e6}, "exclude_from_fit": True}
    api.post(f"/v1/studies/{study}/runs", json={"runs": [poison]})
    assert make_fit(api, study, settings, clock)["runs_used"] == 24


def test_runs_that_come_later_change_neither_the_fit_nor_its_hash(
    api: TestClient, study: str, fit: dict[str, Any]
) -> None:
    api.post(
        f"/v1/studies/{study}/runs", json={"runs": [{"weights": weights(1, 0, 0), "losses": {"code": 5.0, "web": 5.0}}]}
    )
    assert api.get(f"/v1/fits/{fit['id']}").json() == fit
    assert len(api.get(f"/v1/fits/{fit['id']}/out-of-fold").json()["points"]) == 24
    later = api.post(f"/v1/studies/{study}/fits", json={"laws": ["mean"]}).json()
    assert (later["runs_used"], later["runs_hash"] != fit["runs_hash"]) == (25, True)


def test_a_fit_without_measured_runs_is_refused(api: TestClient) -> None:
    study = create_study(api)
    queue_runs(api, study, 1)
    response = api.post(f"/v1/studies/{study}/fits", json={})
    assert response.status_code == 409
    assert "has no measured run" in response.json()["detail"]


def test_an_unknown_law_names_the_known_ones(api: TestClient, study: str) -> None:
    error = api.post(f"/v1/studies/{study}/fits", json={"laws": ["mean", "magic"]}).json()["errors"][0]
    assert error == {"field": "laws.1", "message": "there is no law 'magic'", "accepted": ", ".join(LAWS)}


def test_every_law_is_asked_for_when_none_is_named(api: TestClient, study: str) -> None:
    assert api.post(f"/v1/studies/{study}/fits", json={}).json()["laws"] == list(LAWS)


def test_a_fit_that_mathematics_refuses_fails_with_its_sentence(api: TestClient, settings: Settings, clock) -> None:
    study = create_study(api)
    run = {"weights": weights(0.5, 0.3, 0.2), "losses": {"code": 1.0, "web": 1.0}}
    api.post(f"/v1/studies/{study}/runs", json={"runs": [run, run]})
    fit = make_fit(api, study, settings, clock)
    assert fit["state"] == "failed"
    assert "same mixture" in fit["error"]
    response = api.post(f"/v1/studies/{study}/recommendations", json={"fit_id": fit["id"]})
    assert response.status_code == 409
    assert "same mixture" in response.json()["detail"]


def test_what_needs_a_finished_fit_is_refused_before(api: TestClient, study: str) -> None:
    fit = api.post(f"/v1/studies/{study}/fits", json={"laws": LAWS_USED}).json()["id"]
    calls = [
        api.get(f"/v1/fits/{fit}/out-of-fold"),
        api.post(f"/v1/fits/{fit}/predictions", json={"weights": [weights(1, 0, 0)]}),
        api.post(f"/v1/studies/{study}/recommendations", json={"fit_id": fit}),
    ]
    for response in calls:
        assert response.status_code == 409
        assert "is queued, 0% done" in response.json()["detail"]


def test_a_recommendation_finds_the_planted_optimum_under_caps(
    api: TestClient, study: str, fit: dict[str, Any], settings: Settings, clock
) -> None:
    """The objective falls fastest in code, then web: the cap on code binds, web takes the rest."""
    constraints = {"target_tokens": 20_000, "max_epochs": 2.0, "min_weights": {"law": 0.05}}
    made = make_recommendation(api, study, settings, clock, fit_id=fit["id"], constraints=constraints)
    assert (made["state"], made["law"], made["error"]) == ("succeeded", "log_linear", None)
    assert made["runs_hash"] == fit["runs_hash"]
    rows = {row["domain"]: row for row in made["weights"]}
    assert {name: row["max_weight"] for name, row in rows.items()} == {"code": 0.5, "law": 0.3, "web": 0.2}
    assert rows["code"]["weight"] == pytest.approx(0.5, abs=1e-6)
    assert rows["web"]["weight"] == pytest.approx(0.2, abs=1e-6)
    assert rows["law"]["weight"] == pytest.approx(0.3, abs=1e-6)
    assert all(row["capped"] for row in rows.values())
    assert rows["code"]["epochs"] == pytest.approx(2.0, abs=1e-4)
    assert made["stages"] == [
        {"from_token": 0, "to_token": 20_000, "weights": pytest.approx({n: r["weight"] for n, r in rows.items()})}
    ]
    baselines = ["natural", "uniform", "temperature", "unimax", "best_measured"]
    assert list(made["predictions"]) == ["recommended", *baselines]
    assert made["predictions"]["natural"]["weights"] == pytest.approx(weights(0.5, 0.3, 0.2))
    assert made["solver_status"] in ("optimal", "converged")
    assert made["message"]


def test_without_caps_the_recommendation_beats_every_baseline(
    api: TestClient, study: str, fit: dict[str, Any], settings: Settings, clock
) -> None:
    made = make_recommendation(api, study, settings, clock, fit_id=fit["id"])
    p = np.array([row["weight"] for row in made["weights"]])
    grid = np.random.default_rng(0).dirichlet(np.ones(3), 20_000)
    best = (true_losses(grid) @ [0.75, 0.25]).min()
    assert true_losses(p) @ [0.75, 0.25] <= best + 0.005
    assert all(row["epochs"] is None for row in made["weights"]), "no target run, so no epochs are known"
    assert made["stages"] == [], "neither the planned run nor the runs say how many tokens it has"


def test_a_strong_pull_to_the_prior_recommends_the_prior(
    api: TestClient, study: str, fit: dict[str, Any], settings: Settings, clock
) -> None:
    made = make_recommendation(api, study, settings, clock, fit_id=fit["id"], objective={"kl_to_prior": 1000})
    assert [row["weight"] for row in made["weights"]] == pytest.approx([0.5, 0.3, 0.2], abs=0.01)


def test_wrong_recommendations_are_refused_at_once(api: TestClient, study: str, fit: dict[str, Any]) -> None:
    url = f"/v1/studies/{study}/recommendations"
    other = create_study(api)
    foreign = api.post(f"/v1/studies/{other}/recommendations", json={"fit_id": fit["id"]})
    assert foreign.json()["errors"][0]["field"] == "fit_id"
    law = api.post(url, json={"fit_id": fit["id"], "law": "bimix"})
    assert law.json()["errors"][0]["field"] == "law"
    impossible = {"max_weights": {"code": 0.1, "law": 0.1, "web": 0.1}}
    infeasible = api.post(url, json={"fit_id": fit["id"], "constraints": impossible})
    assert (infeasible.status_code, infeasible.json()["title"]) == (
        422,
        "No mixture satisfies all constraints together.",
    )
    assert api.get(url).json()["items"] == []


@pytest.fixture
def recommendation(api: TestClient, study: str, fit: dict[str, Any], settings: Settings, clock) -> dict[str, Any]:
    return make_recommendation(api, study, settings, clock, fit_id=fit["id"])


def _train(api: TestClient, seeds: dict[int, float], skip: tuple[str, int] | None = None) -> None:
    """An agent whose losses are the planted ones plus the luck of the seed, which all arms share."""
    agent = register(api)
    for run in claim(api, agent):
        label = api.get(f"/v1/runs/{run['run_id']}").json()["label"]
        seed = run["spec"]["seed"]
        if skip is not None and label == f"{skip[0]}, seed {skip[1]}":
            body = {"attempt": 1, "result": {"status": "diverged", "train_tokens": 1}}
        else:
            p = np.array([run["spec"]["stages"][0]["weights"][name] for name in NAMES])
            # A little luck of its own keeps the paired differences from being exactly equal.
            code, web = true_losses(p) + seeds[seed] + 1e-4 * seed * p[0]
            losses = {"code": {"value": code}, "web": {"value": web}}
            body = {"attempt": 1, "result": {"status": "succeeded", "train_tokens": 4096, "losses": losses}}
        assert api.post(f"/v1/runs/{run['run_id']}/complete", json=body).status_code == 204


def test_verification_trains_all_arms_and_finds_the_planted_difference(
    api: TestClient, study: str, recommendation: dict[str, Any]
) -> None:
    url = f"/v1/recommendations/{recommendation['id']}"
    created = api.post(f"{url}/verifications", json={"settings": SETTINGS, "seeds": [1, 2, 3]})
    assert created.status_code == 201, created.text
    runs = created.json()["runs"]
    assert len(runs) == 9
    assert all(run["purpose"] == "verification" and run["exclude_from_fit"] for run in runs)
    assert api.get(f"{url}/verification").json()["done"] is False
    # The luck of a seed is far larger than what the mixtures differ by: only pairing shows it.
    _train(api, {1: 0.0, 2: 5.0, 3: -0.5})
    found = api.get(f"{url}/verification").json()
    assert found["done"] is True
    arms = {arm["name"]: arm for arm in found["arms"]}
    assert list(arms) == ["recommended", "uniform", "natural"]
    assert all((arm["seeds_done"], arm["seeds_asked"]) == (3, 3) for arm in arms.values())
    uniform = true_losses(np.full(3, 1 / 3)) @ [0.75, 0.25]
    assert arms["uniform"]["mean"] == pytest.approx(uniform + 4.5 / 3, abs=1e-3)
    assert arms["uniform"]["stderr"] == pytest.approx(np.std([0.0, 5.0, -0.5], ddof=1) / np.sqrt(3), rel=1e-3)
    assert arms["uniform"]["predicted"]["mean"] == pytest.approx(uniform, abs=0.01)
    for contrast in found["contrasts"]:
        expected = arms["recommended"]["mean"] - arms[contrast["baseline"]]["mean"]
        assert contrast["difference"] == pytest.approx(expected)
        assert contrast["low"] < contrast["difference"] < contrast["high"] < 0
        assert contrast["verdict"] == "better"


def test_seeds_that_an_arm_lost_do_not_enter_its_contrast(api: TestClient, recommendation: dict[str, Any]) -> None:
    url = f"/v1/recommendations/{recommendation['id']}"
    api.post(f"{url}/verifications", json={"settings": SETTINGS, "seeds": [1, 2], "baselines": ["uniform"]})
    _train(api, {1: 0.0, 2: 5.0}, skip=("uniform", 2))
    found = api.get(f"{url}/verification").json()
    assert found["done"] is True
    assert [arm["seeds_done"] for arm in found["arms"]] == [2, 1]
    assert found["arms"][1]["stderr"] is None
    assert found["contrasts"] == [
        {"baseline": "uniform", "difference": None, "low": None, "high": None, "verdict": "not enough runs"}
    ]
    # Asked for again, only the run that was lost is queued again.
    again = api.post(f"{url}/verifications", json={"settings": SETTINGS, "seeds": [1, 2], "baselines": ["uniform"]})
    assert [run["label"] for run in again.json()["runs"]] == ["uniform, seed 2"]
    _train(api, {2: 5.0})
    found = api.get(f"{url}/verification").json()
    assert [(arm["seeds_done"], arm["seeds_asked"]) for arm in found["arms"]] == [(2, 2), (2, 2)]
    assert found["contrasts"][0]["verdict"] in ("better", "no difference shown")


def test_verifications_that_could_not_be_compared_are_refused(api: TestClient, recommendation: dict[str, Any]) -> None:
    url = f"/v1/recommendations/{recommendation['id']}/verifications"
    twice = api.post(url, json={"settings": SETTINGS, "seeds": [1, 1]})
    assert twice.json()["errors"][0]["field"] == "seeds.1"
    assert api.post(url, json={"settings": SETTINGS, "seeds": [1, 2]}).status_code == 201
    assert api.post(url, json={"settings": SETTINGS, "seeds": [2, 1]}).status_code == 409
    other = api.post(url, json={"settings": SETTINGS | {"train_tokens": 8192}, "seeds": [3, 4]})
    assert other.json()["errors"][0]["field"] == "settings"


def test_verification_runs_never_enter_a_fit(
    api: TestClient, study: str, recommendation: dict[str, Any], settings: Settings, clock
) -> None:
    url = f"/v1/recommendations/{recommendation['id']}/verifications"
    api.post(url, json={"settings": SETTINGS, "seeds": [1, 2]})
    _train(api, {1: 0.0, 2: 0.0})
    assert make_fit(api, study, settings, clock, laws=["mean"])["runs_used"] == 24


def test_stored_laws_predict_the_same_after_a_restart(
    api: TestClient, fit: dict[str, Any], settings: Settings, clock, tmp_path: Path
) -> None:
    """What was fitted is read from the database and nowhere else."""
    from app.main import create_app

    body = {"weights": [weights(0.2, 0.3, 0.5)]}
    first = api.post(f"/v1/fits/{fit['id']}/predictions", json=body).json()
    with TestClient(create_app(settings, clock), base_url=LOCAL, headers=BEARER) as restarted:
        assert json.dumps(restarted.post(f"/v1/fits/{fit['id']}/predictions", json=body).json()) == json.dumps(first)
