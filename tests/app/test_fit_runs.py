"""Which runs enter a fit, what a fit says about those that did not, and its laws side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from app.settings import Settings
from mixers.agreement import objective_values
from tests.app.study_bodies import create_study, weights
from tests.app.test_fit_and_recommend import NAMES, make_fit, report_runs, true_losses


@pytest.fixture
def study(api: TestClient) -> str:
    """Twelve small runs, six large ones and two of another purpose; one more is flagged."""
    made = create_study(api)
    rng = np.random.default_rng(3)
    runs = []
    for i, p in enumerate(rng.dirichlet(np.ones(3), 21)):
        code, web = true_losses(p).tolist()
        size, purpose = (1000, "swarm") if i < 12 else (4000, "swarm") if i < 18 else (1000, "verification")
        runs.append(
            {
                "weights": dict(zip(NAMES, p.tolist(), strict=True)),
                "losses": {"code": code, "web": web},
                "model_params": size,
                "train_tokens": 20 * size,
                "purpose": purpose,
                "exclude_from_fit": i == 20,
            }
        )
    assert api.post(f"/v1/studies/{made}/runs", json={"runs": runs}).status_code == 201
    return made


def ask(api: TestClient, study: str, **runs: Any) -> dict[str, Any]:
    response = api.post(f"/v1/studies/{study}/fits", json={"laws": ["mean"], "runs": runs})
    assert response.status_code == 202, response.text
    return response.json()


def test_a_filter_keeps_the_runs_that_pass_all_of_it(api: TestClient, study: str) -> None:
    ids = [run["id"] for run in api.get(f"/v1/studies/{study}/runs").json()["items"]]
    cases: list[tuple[dict[str, Any], int]] = [
        ({}, 20),
        ({"model_params": [1000]}, 14),
        ({"train_tokens": [80_000]}, 6),
        ({"model_params": [1000], "purposes": ["swarm"]}, 12),
        ({"exclude": ids[:5]}, 15),
        ({"purposes": ["verification"], "exclude": ids[:5]}, 2),
    ]
    for runs, kept in cases:
        fit = ask(api, study, **runs)
        assert (fit["runs_used"], fit["runs_filtered"], fit["runs_excluded"]) == (kept, 20 - kept, 1), runs
        nothing = {"model_params": None, "train_tokens": None, "purposes": None, "exclude": []}
        assert fit["runs"] == nothing | {"fidelity": "trained", "staged": False, "points": "end"} | runs


def test_a_filter_that_leaves_nothing_says_what_there_is(api: TestClient, study: str) -> None:
    for runs, field, accepted in (
        ({"model_params": [5]}, "runs.model_params", "counts that measured runs have: 1000, 4000"),
        ({"purposes": ["best"]}, "runs.purposes", "swarm, verification"),
    ):
        response = api.post(f"/v1/studies/{study}/fits", json={"laws": ["mean"], "runs": runs})
        assert response.status_code == 422
        assert response.json()["errors"][0] == {
            "field": field,
            "message": "no measured run is left",
            "accepted": accepted,
        }


def test_a_filtered_fit_is_computed_from_its_runs_alone(api: TestClient, study: str, settings: Settings, clock) -> None:
    """The mean law predicts the mean of the large runs."""
    fit = make_fit(api, study, settings, clock, laws=["mean"], runs={"model_params": [4000]})
    body = {"weights": [weights(1, 0, 0)]}
    predicted = api.post(f"/v1/fits/{fit['id']}/predictions", json=body).json()["predictions"][0]["targets"]["code"]
    large = [run for run in api.get(f"/v1/studies/{study}/runs").json()["items"] if run["model_params"] == 4000]
    assert predicted["mean"] == pytest.approx(np.mean([run["losses"]["code"]["value"] for run in large]))


def test_laws_are_compared_by_target_and_by_their_price(api: TestClient, settings: Settings, clock) -> None:
    study = create_study(api)
    report_runs(api, study, noise=0.2)
    fit = make_fit(api, study, settings, clock, laws=["mean", "regmix_linear", "log_linear", "joint_scaling"])
    found = api.get(f"/v1/fits/{fit['id']}/comparison").json()
    assert found["chosen_law"] == fit["chosen_law"]
    laws = {law["law"]: law for law in found["laws"]}
    best = max(law["objective_spearman"] for law in laws.values() if law["objective_spearman"] is not None)
    assert found["laws"][0]["objective_spearman"] == best
    assert found["laws"][0]["price"] == 0
    assert laws["joint_scaling"]["skipped"]
    assert found["laws"][-1]["law"] == "joint_scaling", "what was skipped comes last"
    by_law = {row["law"]: {target["target"]: target for target in row["targets"]} for row in fit["fidelity"]}
    for target in found["targets"]:
        assert target["spearman"]["log_linear"] == by_law["log_linear"][target["target"]]["spearman"]
        ranked = {law: rank for law, rank in target["spearman"].items() if rank is not None}
        assert ranked[target["best_law"]] == max(ranked.values())


def test_the_law_auto_is_chosen_where_it_was_fitted(api: TestClient, settings: Settings, clock) -> None:
    study = create_study(api)
    report_runs(api, study, count=12)
    fit = make_fit(api, study, settings, clock, laws=["mean", "regmix_linear", "auto"])
    assert fit["chosen_law"] == "auto"
    assert fit["reason"].startswith("it is chosen for each target on unseen runs; the best single law in hindsight")
    listed = api.get(f"/v1/studies/{study}/fits", params={"law": "auto", "state": "succeeded"}).json()["items"]
    assert [row["id"] for row in listed] == [fit["id"]]
    assert api.get(f"/v1/studies/{study}/fits", params={"law": "mean"}).json()["items"] == []


def test_repeats_tell_the_noise_between_them(api: TestClient, settings: Settings, clock) -> None:
    study = create_study(api)
    report_runs(api, study)
    twin = weights(0.2, 0.2, 0.6)
    losses = [{"code": 2.0, "web": 2.2}, {"code": 2.1, "web": 2.0}]
    runs = [{"weights": twin, "losses": each} for each in losses]
    assert api.post(f"/v1/studies/{study}/runs", json={"runs": runs}).status_code == 201
    noise = make_fit(api, study, settings, clock, laws=["mean"])["findings"]["noise_floor"]
    assert noise["targets"] == pytest.approx({"code": np.std([2.0, 2.1], ddof=1), "web": np.std([2.2, 2.0], ddof=1)})
    objective = objective_values(np.array([[2.0, 2.2], [2.1, 2.0]]), np.array([3.0, 1.0]))
    assert noise["objective"] == pytest.approx(np.std(objective, ddof=1))


def test_a_fit_that_was_read_is_not_sent_again(api: TestClient, study: str) -> None:
    fit = ask(api, study)
    first = api.get(f"/v1/fits/{fit['id']}")
    again = api.get(f"/v1/fits/{fit['id']}", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_target_that_no_run_has_measured_is_left_out_and_named(
    api: TestClient, settings: Settings, clock: Any
) -> None:
    """It was added later, say, and stands between two others."""
    targets = [{"name": "code"}, {"name": "new"}, {"name": "web"}]
    study = create_study(api, targets=targets)
    report_runs(api, study)
    fit = make_fit(api, study, settings, clock, laws=["log_linear"])
    assert (fit["state"], fit["targets_left_out"]) == ("succeeded", ["new"]), fit["error"]
    asked = {"weights": [weights(0.2, 0.3, 0.5)]}
    predicted = api.post(f"/v1/fits/{fit['id']}/predictions", json=asked).json()["predictions"][0]["targets"]
    assert list(predicted) == ["code", "web"]
    truth = true_losses(np.array([0.2, 0.3, 0.5]))
    assert [predicted[name]["mean"] for name in predicted] == pytest.approx(truth.tolist(), abs=0.01)
