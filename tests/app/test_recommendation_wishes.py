"""What may be demanded of a recommendation through the API, and all that it tells beside the weights."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from app.cli import run as run_command
from app.settings import Settings
from tests.app.study_bodies import create_study, weights
from tests.app.test_fit_and_recommend import NAMES, make_fit, make_recommendation, report_runs, true_losses

DOMAINS = [
    {"name": "code", "available_tokens": 5_000, "group": "technical"},
    {"name": "law", "available_tokens": 3_000, "group": "prose"},
    {"name": "web", "available_tokens": 2_000, "group": "prose"},
]
TARGETS = [{"name": "code", "weight": 3.0, "family": "programs"}, {"name": "web", "weight": 1.0, "family": "texts"}]
PRIOR = np.array([0.5, 0.3, 0.2])


@pytest.fixture
def study(api: TestClient) -> str:
    made = create_study(api, domains=DOMAINS, targets=TARGETS, objective={"kl_to_prior": 0.0})
    report_runs(api, made)
    return made


@pytest.fixture
def fit(api: TestClient, study: str, settings: Settings, clock) -> dict[str, Any]:
    return make_fit(api, study, settings, clock, laws=["log_linear"])


@pytest.fixture
def recommend(api: TestClient, study: str, fit: dict[str, Any], settings: Settings, clock):
    """Ask, let the worker do it, and read the answer."""
    return lambda **body: make_recommendation(api, study, settings, clock, fit_id=fit["id"], **body)


def shares(made: dict[str, Any]) -> np.ndarray:
    assert made["state"] == "succeeded", made["error"]
    return np.array([row["weight"] for row in made["weights"]])


def test_groups_bound_the_sum_of_their_domains(recommend) -> None:
    """Without bounds code takes most. The group of prose comes from the domain set, the other one from the call."""
    constraints = {"group_min": {"prose": 0.7}, "groups": {"outer": ["code", "web"]}, "group_max": {"outer": 0.6}}
    made = recommend(constraints=constraints)
    code, law, web = shares(made)
    assert law + web >= 0.7 - 1e-6
    assert code + web <= 0.6 + 1e-6
    prices = {(price["kind"], price["subject"]): price for price in made["details"]["prices"]}
    assert "group prose (at least 0.7)" in prices["min_group", "prose"]["words"]
    assert prices["min_group", "prose"]["value"] > 0


def test_frozen_weights_and_bounds_on_change_hold(recommend) -> None:
    """The study's mixture is the natural one, (0.5, 0.3, 0.2)."""
    made = recommend(constraints={"freeze": {"law": 0.25}})
    assert shares(made)[1] == pytest.approx(0.25, abs=1e-9)
    assert made["weights"][1]["held_by"] == "frozen"
    kept = recommend(constraints={"freeze": {"web": None}, "current": "natural", "max_change": 0.04})
    assert shares(kept) == pytest.approx([0.54, 0.26, 0.2], abs=1e-6)
    total = recommend(constraints={"current": weights(0.5, 0.3, 0.2), "max_change_total": 0.1})
    assert np.abs(shares(total) - PRIOR).sum() == pytest.approx(0.1, abs=1e-6)
    assert "current" in total["predictions"]


def test_the_epochs_of_single_domains_are_capped(api: TestClient, study: str, recommend) -> None:
    """Of 10,000 tokens, half of the 5,000 of code are a quarter; without its own cap code gets more."""
    general = recommend(constraints={"target_tokens": 10_000, "max_epochs": 2})
    assert shares(general)[0] > 0.3
    own = recommend(constraints={"target_tokens": 10_000, "max_epochs": 2, "max_epochs_each": {"code": 0.5}})
    code, *others = own["weights"]
    assert code["weight"] == pytest.approx(0.25, abs=1e-6)
    assert (code["max_weight"], code["epochs"], code["capped"]) == (0.25, pytest.approx(0.5, abs=1e-5), True)
    assert all(row["epochs"] <= 2 + 1e-6 for row in others)
    assert own["constraints"]["max_epochs_each"] == {"code": 0.5}
    chart = api.get(f"/v1/charts/studies/{study}/weights", params={"recommendation": own["id"]}).json()
    assert chart["max_epochs_each"] == {"code": 0.5}
    body = {"fit_id": own["fit_id"], "constraints": {"target_tokens": 20_000, "max_epochs_each": {"code": 0.5}}}
    body["constraints"]["min_weights"] = {"code": 0.3}
    refused = api.post(f"/v1/studies/{study}/recommendations", json=body)
    assert refused.status_code == 422
    assert (
        "the epoch cap of domain 'code' (0.5 epochs: at most 0.125); relax it to 1.2 epochs" in refused.json()["detail"]
    )


def test_the_adopted_mixture_is_written_out_when_it_is_asked_for(api: TestClient, study: str, recommend) -> None:
    url = f"/v1/studies/{study}/recommendations"
    first = recommend(constraints={"max_weights": {"code": 0.4}})
    asked = {"fit_id": first["fit_id"], "constraints": {"current": "adopted", "max_change": 0.1}}
    refused = api.post(url, json=asked)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "constraints.current")
    assert api.post(f"/v1/recommendations/{first['id']}/adopt").status_code < 300
    made = recommend(constraints=asked["constraints"])
    assert np.abs(shares(made) - shares(first)).max() == pytest.approx(0.1, abs=1e-6)
    assert made["constraints"]["current"] == pytest.approx({row["domain"]: row["weight"] for row in first["weights"]})


@pytest.mark.parametrize(
    ("body", "field", "accepted"),
    [
        ({"constraints": {"freeze": {"poems": 0.1}}}, "constraints.freeze.poems", "code, law, web"),
        ({"constraints": {"group_min": {"verse": 0.1}}}, "constraints.group_min.verse", "technical, prose"),
        ({"constraints": {"groups": {"prose": ["law"]}}}, "constraints.groups.prose", "a name of its own"),
        ({"constraints": {"groups": {"all": ["poems"]}}}, "constraints.groups.all.poems", "code, law, web"),
        ({"objective": {"target_weights": {"maths": 1}}}, "objective.target_weights.maths", "code, web"),
        ({"objective": {"family_weight": {"maths": 1}}}, "objective.family_weight.maths", "programs, texts"),
        (
            {"objective": {"not_worse": 0, "not_worse_each": {"maths": 0}}},
            "objective.not_worse_each.maths",
            "code, web",
        ),
        (
            {"objective": {"minimise_worst": True, "reference": "current"}},
            "objective.reference",
            "natural, uniform, temperature, best_measured",
        ),
        ({"objective": {"repetition_price": 1}}, "objective.repetition_price", "a price with target_tokens"),
        (
            {"constraints": {"target_tokens": 9, "max_epochs_each": {"poems": 1}}},
            "constraints.max_epochs_each.poems",
            "code, law, web",
        ),
    ],
)
def test_a_name_that_is_not_there_is_named_with_those_that_are(
    api: TestClient, study: str, fit: dict[str, Any], body: dict[str, Any], field: str, accepted: str
) -> None:
    response = api.post(f"/v1/studies/{study}/recommendations", json={"fit_id": fit["id"], **body})
    assert response.status_code == 422, response.text
    error = response.json()["errors"][0]
    assert (error["field"], error["accepted"]) == (field, accepted)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"constraints": {"max_epochs": 2}}, "max_epochs needs target_tokens"),
        ({"constraints": {"max_epochs_each": {"code": 2}}}, "max_epochs_each needs target_tokens"),
        ({"constraints": {"max_change": 0.1}}, "max_change needs current"),
        ({"constraints": {"freeze": {"code": None}}}, "freeze of 'code' needs a weight, or current"),
        ({"objective": {"reference": "natural"}}, "reference says how minimise_worst is meant"),
        ({"objective": {"by_family": True}}, "by_family says how not_worse is meant"),
    ],
)
def test_half_a_wish_says_what_is_missing(
    api: TestClient, study: str, fit: dict[str, Any], body: dict[str, Any], words: str
) -> None:
    response = api.post(f"/v1/studies/{study}/recommendations", json={"fit_id": fit["id"], **body})
    assert response.status_code == 422
    assert words in response.json()["detail"]


def test_constraints_that_cannot_hold_together_are_named_with_their_gap(
    api: TestClient, study: str, fit: dict[str, Any]
) -> None:
    constraints = {"group_min": {"prose": 0.8}, "min_weights": {"code": 0.3}}
    body = {"fit_id": fit["id"], "constraints": constraints}
    response = api.post(f"/v1/studies/{study}/recommendations", json=body)
    assert response.status_code == 422
    detail = response.json()["detail"]
    assert "the lower bound of group 'prose' (at least 0.8)" in detail
    assert "the lower bound of domain 'code' (at least 0.3)" in detail
    assert "they miss by 0.1 in all" in detail


def test_a_study_refuses_wishes_on_names_that_it_does_not_have(api: TestClient) -> None:
    body = {"name": "s", "domains": DOMAINS, "targets": TARGETS, "constraints": {"group_max": {"verse": 0.5}}}
    assert api.post("/v1/studies", json=body).json()["errors"][0]["field"] == "constraints.group_max.verse"
    body |= {"constraints": {}, "objective": {"family_weight": {"verse": 1}}}
    assert api.post("/v1/studies", json=body).json()["errors"][0]["field"] == "objective.family_weight.verse"


def test_the_worst_target_is_better_when_it_is_minimised(recommend) -> None:
    """Excess of each target over the natural mixture, under the planted law."""
    mean, worst = recommend(), recommend(objective={"kl_to_prior": 0, "minimise_worst": True})
    natural = true_losses(PRIOR)
    assert (true_losses(shares(worst)) - natural).max() < (true_losses(shares(mean)) - natural).max() - 0.01


def test_no_target_gets_worse_than_is_allowed(recommend) -> None:
    free = recommend()
    held = recommend(objective={"kl_to_prior": 0, "not_worse": 0.0, "not_worse_each": {"web": 0.05}})
    web = [made["predictions"]["recommended"]["targets"]["web"]["mean"] for made in (free, held)]
    natural = free["predictions"]["natural"]["targets"]["web"]["mean"]
    assert web[0] > natural + 0.05 >= web[1] - 1e-6
    assert held["details"]["unconstrained"]["weights"] == pytest.approx(
        free["predictions"]["recommended"]["weights"], abs=1e-3
    )


def test_weights_of_targets_and_of_families_replace_their_own(recommend) -> None:
    """Only web counts: the best mixture is that of web alone, however it is said."""
    by_target = recommend(objective={"kl_to_prior": 0, "target_weights": {"code": 0}})
    by_family = recommend(objective={"kl_to_prior": 0, "family_weight": {"programs": 0}})
    assert by_target["details"]["target_weights"] == {"code": 0.0, "web": 1.0}
    assert shares(by_target) == pytest.approx(shares(by_family), abs=1e-6)
    assert shares(by_target)[2] > 0.99


def test_details_and_provenance_say_what_to_act_on_and_where_it_came_from(recommend, fit: dict[str, Any]) -> None:
    made = recommend(constraints={"target_tokens": 20_000, "max_epochs": 3}, pareto=True)
    details, provenance = made["details"], made["provenance"]
    best, natural = (made["predictions"][name]["objective"]["mean"] for name in ("recommended", "natural"))
    assert details["gains"]["natural"]["objective"]["mean"] == pytest.approx(natural - best)
    assert details["offered"]["mixture"] in ("recommended", "best_measured")
    assert details["unseen_domains"] == []
    assert details["pareto"]["families"] == ["programs", "texts"]
    assert details["unconstrained"]["objective"]["mean"] <= best + 1e-9
    for row in made["weights"]:
        assert row["low"] - 1e-6 <= row["weight"] <= row["high"] + 1e-6
    assert (provenance["fit_id"], provenance["runs_hash"]) == (fit["id"], fit["runs_hash"])
    assert (provenance["runs"], provenance["domain_set_version"], provenance["law"]) == (24, 1, "log_linear")
    assert provenance["fidelity"] == fit["fidelity"][0]
    assert provenance["solver_status"] == made["solver_status"]
    assert provenance["mixwright_version"]


def test_lists_leave_the_details_out_and_know_state_and_law(api: TestClient, study: str, recommend) -> None:
    made = recommend()
    url = f"/v1/studies/{study}/recommendations"
    assert [row["details"] for row in api.get(url).json()["items"]] == [None]
    found = [
        [row["id"] for row in api.get(url, params=given).json()["items"]]
        for given in ({"state": "succeeded", "law": "log_linear"}, {"state": "failed"}, {"law": "mean"})
    ]
    assert found == [[made["id"]], [], []]


def test_the_command_line_recommends_the_same_weights(
    api: TestClient, study: str, recommend, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same runs, wishes and seed: the same law, the same weights, the same prices."""
    folder = tmp_path / "swarm"
    folder.mkdir()
    runs = api.get(f"/v1/studies/{study}/runs", params={"limit": 100}).json()["items"]
    columns = ["run_id", *(f"w:{name}" for name in NAMES), "loss:code", "loss:web"]
    rows = [
        [r["id"], *(r["weights"][n] for n in NAMES), *(r["losses"][t]["value"] for t in ("code", "web"))] for r in runs
    ]
    tokens = [[d["name"], d["available_tokens"], d["group"]] for d in DOMAINS]
    targets = [[t["name"], t["weight"], t["family"]] for t in TARGETS]
    for name, head, lines in (
        ("runs", columns, rows),
        ("domains", ["domain", "available_tokens", "group"], tokens),
        ("targets", ["target", "weight", "family"], targets),
    ):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([head, *lines])
    options = "--law log_linear --json --kl 0.01 --target-tokens 20000 --max-epochs 3 --group-min prose=0.4"
    options += " --current natural --max-change-total 0.3 --not-worse 0.1 --repetition-price 0.2"
    assert run_command(["recommend", str(folder), *options.split()]) == 0
    printed = json.loads(capsys.readouterr().out.partition("{")[2].join(["{", ""]))
    made = recommend(
        objective={"kl_to_prior": 0.01, "not_worse": 0.1, "repetition_price": 0.2},
        constraints={
            "target_tokens": 20_000,
            "max_epochs": 3,
            "group_min": {"prose": 0.4},
            "current": "natural",
            "max_change_total": 0.3,
        },
    )
    assert shares(made) == pytest.approx([row["weight"] for row in printed["weights"]], abs=1e-6)
    assert made["details"]["constraints"] == printed["constraints"]
    assert list(made["predictions"]) == list(printed["predictions"])
    for ours, theirs in zip(made["details"]["prices"], printed["prices"], strict=True):
        assert (ours["kind"], ours["subject"]) == (theirs["kind"], theirs["subject"])
        assert ours["value"] == pytest.approx(theirs["value"], abs=1e-4)


def test_a_diff_says_what_moves_and_what_it_gains(recommend, api: TestClient) -> None:
    constraints = {"target_tokens": 20_000, "max_weights": {"code": 0.6}}
    made = recommend(constraints=constraints)
    found = api.get(f"/v1/recommendations/{made['id']}/diff").json()
    assert (found["against"], found["against_id"], found["law"], found["runs"]) == ("prior", None, None, None)
    assert [row["change"] for row in found["domains"]] == pytest.approx(list(shares(made) - PRIOR))
    moved = np.abs(shares(made) - PRIOR).sum() / 2
    assert (found["share_moved"], found["tokens_moved"]) == pytest.approx((moved, moved * 20_000))
    code = found["domains"][0]
    assert code["epochs_change"] == pytest.approx(code["change"] * 20_000 / 5_000)
    assert found["gains"]["objective"] == pytest.approx(made["details"]["gains"]["natural"]["objective"])


def test_a_diff_to_another_recommendation_says_what_was_asked_differently(
    recommend, api: TestClient, study: str, settings: Settings, clock
) -> None:
    first = recommend(objective={"kl_to_prior": 0.5})
    api.post(f"/v1/recommendations/{first['id']}/adopt")
    code, web = true_losses(np.array([0.4, 0.4, 0.2])).tolist()
    run = {"weights": weights(0.4, 0.4, 0.2), "losses": {"code": code, "web": web}}
    assert api.post(f"/v1/studies/{study}/runs", json={"runs": [run]}).status_code == 201
    later = make_fit(api, study, settings, clock, laws=["log_linear", "regmix_linear"])
    second = make_recommendation(
        api, study, settings, clock, fit_id=later["id"], law="regmix_linear", constraints={"max_weights": {"code": 0.5}}
    )
    for against in (first["id"], "adopted"):
        found = api.get(f"/v1/recommendations/{second['id']}/diff", params={"against": against}).json()
        assert found["against_id"] == first["id"]
        assert found["law"] == {"here": "regmix_linear", "there": "log_linear"}
        assert found["objective"] == {"kl_to_prior": {"here": 0.0, "there": 0.5}}
        assert found["constraints"] == {"max_weights": {"here": {"code": 0.5}, "there": {}}}
        assert found["runs"] == {"added": 1, "removed": 0, "same_data": False}
        assert found["gains"]["objective"]["low"] < found["gains"]["objective"]["mean"]
    wrong = api.get(f"/v1/recommendations/{second['id']}/diff", params={"against": "moon"})
    assert wrong.status_code == 422
    assert "the id of a recommendation of the same study, prior, adopted, natural" in wrong.json()["detail"]


def test_a_mixture_far_from_every_run_says_so(api: TestClient, settings: Settings, clock) -> None:
    """Runs without any web: its corner is at L1 distance 2 from each."""
    study = create_study(api)
    p = np.random.default_rng(1).dirichlet(np.ones(2), 12)
    runs = [
        {
            "weights": weights(code, law, 0),
            "losses": {"code": 2 - code, "web": 2 + code},
            "model_params": 1000,
            "train_tokens": 10_000,
        }
        for code, law in p.tolist()
    ]
    assert api.post(f"/v1/studies/{study}/runs", json={"runs": runs}).status_code == 201
    fit = make_fit(api, study, settings, clock, laws=["regmix_linear"])
    body = {"weights": [weights(0, 0, 1), runs[3]["weights"]], "model_params": 4000}
    answer = api.post(f"/v1/fits/{fit['id']}/predictions", json=body).json()
    far, near = answer["predictions"]
    assert (far["far"], far["distance"], far["unseen_domains"]) == (True, pytest.approx(2), ["web"])
    assert (near["far"], near["distance"], near["unseen_domains"]) == (False, pytest.approx(0, abs=1e-9), [])
    assert answer["train_tokens"] == 10_000
    assert "model_params 4000 is 4 times their largest" in answer["warnings"][0]
