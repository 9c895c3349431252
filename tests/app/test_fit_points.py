"""Fits that take every measured point of a run: what they learn from it, how they count it, and what they say of it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from app.schemas.run_points import FALLING_RATES
from app.services import run_points
from app.settings import Settings
from tests.app.study_bodies import SETTINGS, claim, create_study, register, result, weights
from tests.app.test_fit_and_recommend import NAMES, make_fit, make_recommendation, true_losses
from tests.app.test_import_routes import send

END, ON_THE_WAY = 4_000_000, (500_000, 1_000_000, 2_000_000)
BETA = 0.45
LAWS = ["mean", "additive_scaling", "joint_scaling"]


def losses_at(p: np.ndarray, tokens: float) -> dict[str, float]:
    """The planted law: that of the mixtures, and 0.8 (D / 1e6)^-0.45 above it."""
    code, web = (true_losses(p) + 0.8 * (tokens / 1e6) ** -BETA).tolist()
    return {"code": code, "web": web}


def point(p: np.ndarray, tokens: int) -> dict[str, Any]:
    measured = {name: {"value": value} for name, value in losses_at(p, tokens).items()}
    return {"train_tokens": tokens, "losses": measured}


def run(p: np.ndarray, **more: Any) -> dict[str, Any]:
    """A run of END tokens that was measured three times on the way."""
    return {
        "weights": dict(zip(NAMES, p.tolist(), strict=True)),
        "losses": losses_at(p, END),
        "model_params": 1_000_000,
        "train_tokens": END,
        "trajectory": [point(p, tokens) for tokens in ON_THE_WAY],
    } | more


def report(api: TestClient, study: str, *runs: dict[str, Any]) -> list[str]:
    answer = api.post(f"/v1/studies/{study}/runs", json={"runs": runs})
    assert answer.status_code == 201, answer.text
    return [made["id"] for made in answer.json()["runs"]]


def mixtures(count: int) -> np.ndarray:
    return np.random.default_rng(11).dirichlet(np.ones(3), count)


@pytest.fixture
def study(api: TestClient) -> str:
    """Sixteen runs of one size and one length."""
    made = create_study(api, objective={"kl_to_prior": 0.0})
    report(api, made, *map(run, mixtures(16)))
    return made


def exponent(api: TestClient, fit: dict[str, Any], law: str) -> float:
    """Of the tokens, by the predictions of code beyond the runs: (L(8) - L(16)) / (L(16) - L(32)) = 2^exponent."""
    losses = []
    for tokens in (8, 16, 32):
        body = {"weights": [weights(0.2, 0.3, 0.5)], "law": law, "train_tokens": tokens * 10**6}
        found = api.post(f"/v1/fits/{fit['id']}/predictions", json=body).json()["predictions"][0]
        losses.append(found["targets"]["code"]["mean"])
    steps = -np.diff(losses)
    return 0.0 if steps[1] == 0 else float(np.log2(steps[0] / steps[1]))


def test_all_points_of_runs_of_one_length_tell_the_exponent_of_tokens_and_their_ends_do_not(
    api: TestClient, study: str, settings: Settings, clock: Any
) -> None:
    fits = {
        points: make_fit(api, study, settings, clock, laws=LAWS, runs={"points": points}) for points in ("all", "end")
    }
    assert {fit["state"] for fit in fits.values()} == {"succeeded"}
    skipped = {points: {law["law"]: law["skipped"] for law in fit["fidelity"]} for points, fit in fits.items()}
    assert skipped["all"] == dict.fromkeys(LAWS)
    assert "2 or more different scales" in skipped["end"]["joint_scaling"]
    for law in ("additive_scaling", "joint_scaling"):
        assert exponent(api, fits["all"], law) == pytest.approx(BETA, abs=0.05)
    assert exponent(api, fits["end"], "additive_scaling") == 0
    # The same runs reach the largest scale and tell the others: nothing is predicted across scales.
    assert [law["transfer_spearman"] for law in fits["all"]["fidelity"]] == [None] * 3


def test_runs_and_points_are_counted_apart_and_the_default_is_as_before(
    api: TestClient, study: str, settings: Settings, clock: Any
) -> None:
    every = make_fit(api, study, settings, clock, laws=LAWS, runs={"points": "all"})
    ends = make_fit(api, study, settings, clock, laws=LAWS, runs={"points": "end"})
    default = make_fit(api, study, settings, clock, laws=LAWS)
    bare = create_study(api)
    report(api, bare, *(run(p, trajectory=[]) for p in mixtures(16)))
    without = make_fit(api, bare, settings, clock, laws=LAWS)
    assert (every["runs_used"], every["points"]["used"]) == (16, 64)
    assert [(fit["runs_used"], fit["points"]) for fit in (ends, default, without)] == [(16, None)] * 3
    assert len({every["runs_hash"], ends["runs_hash"], default["runs_hash"]}) == 2
    assert ends["runs_hash"] == default["runs_hash"]
    told = [[law | {"fit_seconds": None} for law in fit["fidelity"]] for fit in (ends, default, without)]
    assert told[0] == told[1] == told[2]
    assert default["reason"] == without["reason"]


def test_a_point_out_of_fold_is_told_with_its_run_and_its_tokens(
    api: TestClient, study: str, settings: Settings, clock: Any
) -> None:
    fit = make_fit(api, study, settings, clock, laws=LAWS, runs={"points": "all"})
    url = f"/v1/fits/{fit['id']}/out-of-fold"
    points = api.get(url, params={"target": "code", "law": "additive_scaling"}).json()["points"]
    runs = [made["id"] for made in api.get(f"/v1/studies/{study}/runs").json()["items"]]
    assert [(one["run_id"], one["train_tokens"]) for one in points] == [
        (made, tokens) for made in runs for tokens in (*ON_THE_WAY, END)
    ]
    truth = [losses_at(p, tokens)["code"] for p in mixtures(16) for tokens in (*ON_THE_WAY, END)]
    assert [one["observed"] for one in points] == pytest.approx(truth)
    # Were a point of the same run in the other folds, the mean would know of its mixture.
    means = api.get(url, params={"target": "code", "law": "mean"}).json()["points"]
    at_end = {one["run_id"]: one for one in means if one["train_tokens"] == END}
    seen = {one["predicted"] for one in at_end.values()}
    assert len(seen) <= 3, "one mean a fold"
    chart = api.get(f"/v1/charts/fits/{fit['id']}/predicted", params={"target": "code"}).json()
    assert len(chart["points"]) == 64


def test_points_of_runs_that_may_not_enter_and_of_several_stages_stay_out(api: TestClient, study: str) -> None:
    one, two = weights(1.0, 0.0, 0.0), weights(0.0, 0.5, 0.5)
    p = mixtures(1)[0]
    stages = [
        {"from_token": 0, "to_token": 10**6, "weights": one},
        {"from_token": 10**6, "to_token": END, "weights": two},
    ]
    staged = run(p, stages=stages)
    del staged["weights"]
    report(
        api,
        study,
        staged,
        run(p, exclude_from_fit=True),
        run(p, train_tokens=None),  # where its end lies is not known, so neither what is before it
        run(
            p, trajectory=[{"train_tokens": 10, "losses": {"poems": {"value": 1.0}}}, point(p, END), point(p, 2 * END)]
        ),
    )

    def counted(**runs: Any) -> tuple[int, int, int]:
        fit = api.post(f"/v1/studies/{study}/fits", json={"laws": ["mean"], "runs": {"points": "all"} | runs}).json()
        return fit["runs_used"], fit["points"]["used"], fit["runs_filtered"]

    assert counted() == (18, 64 + 2, 1)
    assert counted(staged=True) == (19, 64 + 3, 0)
    assert counted(train_tokens=[END]) == (17, 64 + 1, 2)


def test_points_of_one_run_are_no_repeats(api: TestClient, study: str, settings: Settings, clock: Any) -> None:
    asked = {"laws": ["mean"], "runs": {"points": "all"}}
    assert make_fit(api, study, settings, clock, **asked)["findings"]["noise_floor"] is None
    p = mixtures(16)[3]
    twin = run(p, trajectory=[])
    twin["losses"] = {name: value + 0.1 for name, value in twin["losses"].items()}
    report(api, study, twin)
    noise = make_fit(api, study, settings, clock, **asked)["findings"]["noise_floor"]
    assert noise["targets"] == pytest.approx(dict.fromkeys(("code", "web"), 0.1 / np.sqrt(2)))


def trained(api: TestClient, study: str, optimizer: dict[str, Any], seeds: int) -> list[str]:
    """Runs of 4500 tokens by an agent, measured after 1024 and 3584 tokens and at their end after 4096: whole steps."""
    settings = SETTINGS | {"train_tokens": 4500, "optimizer": optimizer}
    rows = [
        {"weights": dict(zip(NAMES, p.tolist(), strict=True)), "settings": settings}
        for p in np.random.default_rng(seeds).dirichlet(np.ones(3), seeds)
    ]
    made = api.post(f"/v1/studies/{study}/runs", json={"runs": rows}).json()["runs"]
    agent = register(api)
    for claimed in claim(api, agent):
        trajectory = [
            {"train_tokens": tokens, "losses": {"code": {"value": value}, "web": {"value": value}}}
            for tokens, value in ((1024, 4.0), (3584, 2.5), (4096, 2.0))
        ]
        body = {"attempt": 1, "result": result(trajectory=trajectory)}
        assert api.post(f"/v1/runs/{claimed['run_id']}/complete", json=body).status_code == 204
    return [one["id"] for one in made]


def test_points_of_a_falling_learning_rate_are_counted_and_said(
    api: TestClient, settings: Settings, clock: Any
) -> None:
    study = create_study(api)
    falling = trained(api, study, {"schedule": "cosine"}, 2)
    clock.advance(1)
    decaying = trained(api, study, {"schedule": "wsd", "decay_fraction": 0.25}, 3)  # 3375 tokens are before its decay
    clock.advance(1)
    trained(api, study, {"schedule": "constant"}, 4)
    report(api, study, run(mixtures(1)[0]))
    fit = make_fit(api, study, settings, clock, laws=["mean"], runs={"points": "all"})
    told = fit["points"]
    # The last point of an agent's trajectory is the end of its run, and no point beside it.
    assert (fit["runs_used"], told["used"]) == (10, 9 * 3 + 4)
    assert (told["falling_rate"], told["unknown_rate"]) == (2 * 2 + 3, 3)
    assert (
        f"7 points on the way of runs {falling[0]}, {falling[1]}, {decaying[0]} and 2 more {FALLING_RATES}"
        in (fit["reason"])
    )
    assert "31 points of 10 runs count" in fit["reason"]
    assert "of 3 points on the way of run" in fit["reason"]
    ends = make_fit(api, study, settings, clock, laws=["mean"])
    assert "on the way" not in ends["reason"]


def test_a_recommendation_from_points_is_for_the_ends_and_says_where_it_is_from(
    api: TestClient, study: str, settings: Settings, clock: Any
) -> None:
    fit = make_fit(api, study, settings, clock, laws=LAWS, runs={"points": "all"})
    asked = {"weights": [dict(zip(NAMES, mixtures(16)[5].tolist(), strict=True))]}
    runs = [made["id"] for made in api.get(f"/v1/studies/{study}/runs").json()["items"]]
    for _ in range(2):  # as it was read, and as it was kept
        predicted = api.post(f"/v1/fits/{fit['id']}/predictions", json=asked).json()
        assert (predicted["model_params"], predicted["train_tokens"]) == (1e6, END)
        assert predicted["predictions"][0]["nearest_run"] == runs[5]
    found = make_recommendation(api, study, settings, clock, fit_id=fit["id"])
    assert found["state"] == "succeeded", found["error"]
    assert (found["provenance"]["runs"], found["provenance"]["points"]) == (16, 64)
    assert found["runs_hash"] == fit["runs_hash"]
    assert found["details"]["scale"] == {"model_params": 1e6, "train_tokens": END}
    assert set(fit["points"]["warnings"]) <= set(found["details"]["warnings"])
    assert set(found["details"]["offered"]["runs"]) <= set(runs)
    ends = make_recommendation(
        api, study, settings, clock, fit_id=make_fit(api, study, settings, clock, laws=LAWS)["id"]
    )
    assert ends["provenance"]["points"] is None
    other = api.get(f"/v1/recommendations/{found['id']}/diff", params={"against": ends["id"]}).json()["runs"]
    assert other == {"added": 0, "removed": 0, "same_data": False}


def test_more_points_than_one_fit_takes_are_refused_with_what_would_be_taken(
    api: TestClient, study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_points, "MOST_POINTS", 60)
    url = f"/v1/studies/{study}/fits"
    refusal = api.post(url, json={"laws": ["mean"], "runs": {"points": "all"}})
    assert refusal.status_code == 422
    [error] = refusal.json()["errors"]
    assert (error["field"], error["message"]) == ("runs.points", "these runs have 64 points, ends included")
    assert "at most 60 points" in error["accepted"]
    assert "'end', which takes one of each of these 16 runs" in error["accepted"]
    some = [made["id"] for made in api.get(f"/v1/studies/{study}/runs").json()["items"]][:1]
    assert api.post(url, json={"laws": ["mean"], "runs": {"points": "all", "exclude": some}}).status_code == 202
    assert api.post(url, json={"laws": ["mean"]}).status_code == 202


def test_points_that_an_import_has_taken_away_are_missed_in_a_sentence(
    api: TestClient, settings: Settings, clock: Any
) -> None:
    study = create_study(api)

    def take(tokens: int) -> None:
        lines = []
        for i, p in enumerate(mixtures(6)):
            here = {"tokens": tokens, "losses": losses_at(p, tokens)}
            told = {"run_id": str(i), "mixture": dict(zip(NAMES, p.tolist(), strict=True)), "tokens": END}
            lines.append(json.dumps(told | {"losses": losses_at(p, END), "trajectory": [here]}))
        sent = {"format": "jsonl", "update": True}
        answer = send(api, f"/v1/studies/{study}/imports", {"runs.jsonl": "\n".join(lines)}, **sent)
        assert answer.status_code == 201, answer.text

    take(1000)
    fit = make_fit(api, study, settings, clock, laws=["mean"], runs={"points": "all"})
    assert fit["points"]["used"] == 12
    take(2000)
    refusal = api.get(f"/v1/fits/{fit['id']}/out-of-fold")
    assert refusal.status_code == 409
    assert "6 points of this fit are no more" in refusal.json()["detail"]
    assert make_fit(api, study, settings, clock, laws=["mean"], runs={"points": "all"})["state"] == "succeeded"
