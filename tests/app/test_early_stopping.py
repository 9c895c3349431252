"""A run whose rule says so is given up once it is clearly worse than runs of equal settings, and only then."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.settings import Settings
from proxy_training.spec import ProxySettings
from tests.app.study_bodies import SETTINGS, claim, create_study, get_run, queue_runs, register, result
from tests.app.test_fit_and_recommend import make_fit, make_recommendation, report_runs, work

RULE = {"after_fraction": 0.5, "quantile": 0.75, "min_runs": 4}
HALF = 2048
STOPPING = SETTINGS | {"early_stopping": RULE, "measure_at_tokens": [HALF]}
SENTENCE = (
    "stopped early: after 2048 tokens its objective is 5, worse than 3.25, the quantile 0.75 of 4 other runs with "
    "equal settings"
)


def held(api: TestClient, study: str, agent: str, count: int, **changes: Any) -> list[str]:
    """Runs that the agent trains."""
    queue_runs(api, study, count, **({"settings": STOPPING} | changes))
    return [run["run_id"] for run in claim(api, agent)]


def point(value: float, tokens: int = HALF, **others: float) -> dict[str, Any]:
    losses = {"code": {"value": value}, "web": {"value": value}}
    return {"train_tokens": tokens, "losses": losses} | others


def measure(api: TestClient, run: str, value: float, tokens: int = HALF, attempt: int = 1) -> int:
    body = {"attempt": attempt, "point": point(value, tokens)}
    return api.post(f"/v1/runs/{run}/measurements", json=body).status_code


def measure_together(api: TestClient, told: list[tuple[str, float, int]], attempt: int = 1) -> list[str]:
    """Report points of runs after tokens in one call. Returns the runs that are lost."""
    points = [{"run_id": run, "attempt": attempt, "point": point(value, tokens)} for run, value, tokens in told]
    response = api.post("/v1/runs/measurements", json={"points": points})
    assert response.status_code == 200, response.text
    return response.json()["lost"]


def state(api: TestClient, run: str) -> str:
    return get_run(api, run)["state"]


def pruned_events(api: TestClient, study: str) -> list[dict[str, Any]]:
    items = api.get(f"/v1/studies/{study}/events", params={"limit": 1000}).json()["items"]
    return [event for event in items if event["kind"] == "run.pruned"]


def test_a_hopeless_run_is_pruned_and_says_why(api: TestClient, study: str, agent: str) -> None:
    *others, hopeless = held(api, study, agent, 5)
    for value, run in enumerate(others, start=1):
        assert measure(api, run, value) == 204
    assert measure(api, hopeless, 5.0) == 204
    run = get_run(api, hopeless)
    assert (run["state"], run["error"], run["agent_id"], run["losses"]) == ("pruned", SENTENCE, None, None)
    assert [state(api, run) for run in others] == ["leased"] * 4
    attempt = api.get(f"/v1/runs/{hopeless}/attempts").json()["items"][0]
    assert (attempt["outcome"], attempt["reason"]) == ("pruned", SENTENCE)
    (event,) = pruned_events(api, study)
    assert (event["subject_id"], event["data"]) == (hopeless, {"attempt": 1, "reason": SENTENCE})
    spent = api.get(f"/v1/studies/{study}").json()["budget"]["spent_flops"]
    assert spent == 6 * run["model_params"] * HALF, "what it trained is settled, what it did not train is free again"


def test_its_agent_learns_so_and_late_reports_change_nothing(api: TestClient, study: str, agent: str) -> None:
    *others, hopeless = held(api, study, agent, 5)
    for run in others:
        measure(api, run, 1.0)
    measure(api, hopeless, 2.0)
    beat = {"runs": [{"run_id": run, "attempt": 1} for run in (*others, hopeless)]}
    assert api.post(f"/v1/agents/{agent}/heartbeat", json=beat).json()["lost"] == [hopeless]
    assert measure(api, hopeless, 0.1, 3072) == 409
    done = {"attempt": 1, "result": result()}
    assert api.post(f"/v1/runs/{hopeless}/complete", json=done).status_code == 409
    assert [one["train_tokens"] for one in api.get(f"/v1/runs/{hopeless}/trajectory").json()["points"]] == [HALF]
    assert len(pruned_events(api, study)) == 1


@pytest.mark.parametrize(
    ("others", "tokens", "value"),
    [
        ([1, 2, 3], HALF, 9.0),  # three, where four must be there
        ([1, 2, 3, 4], 1024, 9.0),  # a quarter of the tokens, where half must be through
        ([1, 2, 3, 4], 4096, 9.0),  # at its end
        ([1, 2, 3, 4], HALF, 3.25),  # the bound itself
    ],
)
def test_a_run_goes_on_where_the_rule_does_not_apply(
    api: TestClient, study: str, agent: str, others: list[float], tokens: int, value: float
) -> None:
    *before, run = held(api, study, agent, len(others) + 1)
    for other, its in zip(before, others, strict=True):
        measure(api, other, its, tokens)
    assert measure(api, run, value, tokens) == 204
    assert state(api, run) == "leased"


def test_without_a_rule_nothing_is_pruned(api: TestClient, study: str, agent: str) -> None:
    *others, run = held(api, study, agent, 6, settings=SETTINGS)
    for other in others:
        measure(api, other, 1.0)
    assert measure(api, run, 99.0) == 204
    assert state(api, run) == "leased"


def test_only_runs_with_equal_settings_measured_after_as_many_tokens_count(
    api: TestClient, study: str, agent: str
) -> None:
    longer = held(api, study, agent, 4, settings=STOPPING | {"train_tokens": 8192, "measure_at_tokens": [HALF, 4096]})
    elsewhere = held(api, create_study(api), agent, 4)
    *others, run = held(api, study, agent, 5)
    for other in (*longer, *elsewhere):
        measure(api, other, 1.0)
    for other in others:
        measure(api, other, 1.0, 3072)
    assert measure(api, run, 9.0) == 204
    assert state(api, run) == "leased"


def test_finished_runs_count_as_well(api: TestClient, study: str, agent: str) -> None:
    *others, run = held(api, study, agent, 5)
    for other in others:
        done = result(trajectory=[point(1.0)])
        assert api.post(f"/v1/runs/{other}/complete", json={"attempt": 1, "result": done}).status_code == 204
    measure(api, run, 1.1)
    assert state(api, run) == "pruned"


def test_a_metric_to_be_maximised_is_worse_when_it_is_lower(api: TestClient, agent: str) -> None:
    study = create_study(api, targets=[{"name": "arc", "direction": "maximize"}, {"name": "code", "weight": 0}])
    *others, good, bad = held(api, study, agent, 6)
    for run, value in [(run, 0.5) for run in others] + [(good, 0.9), (bad, 0.1)]:
        told = {"train_tokens": HALF, "losses": {"code": {"value": 9.0}}, "metrics": {"arc": {"value": value}}}
        api.post(f"/v1/runs/{run}/measurements", json={"attempt": 1, "point": told})
    assert (state(api, good), state(api, bad)) == ("leased", "pruned")


def test_a_point_without_the_objective_decides_nothing(api: TestClient, study: str, agent: str) -> None:
    *others, run = held(api, study, agent, 5)
    for other in others:
        measure(api, other, 1.0)
    told = {"train_tokens": HALF, "losses": {"code": {"value": 99.0}}}
    assert api.post(f"/v1/runs/{run}/measurements", json={"attempt": 1, "point": told}).status_code == 204
    assert state(api, run) == "leased"


def test_a_run_that_was_queued_again_is_trained_to_its_end(api: TestClient, study: str, agent: str) -> None:
    *others, run = held(api, study, agent, 5)
    for other in others:
        measure(api, other, 1.0)
    measure(api, run, 2.0)
    assert api.post(f"/v1/runs/{run}/retry").json()["error"] is None
    assert claim(api, agent)[0]["attempt"] == 2
    assert measure(api, run, 2.0, attempt=2) == 204
    assert state(api, run) == "leased"


def test_a_pruned_run_enters_no_fit_and_a_top_up_replaces_it(
    api: TestClient, study: str, agent: str, settings: Settings, clock: Any
) -> None:
    *others, run = held(api, study, agent, 5)
    for other in others:
        measure(api, other, 1.0)
    measure(api, run, 2.0)
    assert api.post(f"/v1/studies/{study}/fits", json={}).status_code == 409
    body = {"name": "fill", "kind": "top-up", "cron": "0 0 * * *", "settings": {"runs": 6, "proxy": STOPPING}}
    schedule = api.post(f"/v1/studies/{study}/schedules", json=body).json()["id"]
    assert api.post(f"/v1/schedules/{schedule}/fire").status_code == 202
    work(settings, clock)
    counts = api.get(f"/v1/studies/{study}").json()["run_counts"]
    assert {name: count for name, count in counts.items() if count} == {"leased": 4, "pruned": 1, "queued": 2}


def test_a_run_of_a_verification_is_neither_pruned_nor_compared_with(
    api: TestClient, study: str, agent: str, settings: Settings, clock: Any
) -> None:
    report_runs(api, study)
    fit = make_fit(api, study, settings, clock, laws=["log_linear"])["id"]
    recommendation = make_recommendation(api, study, settings, clock, fit_id=fit)["id"]
    asked = {"settings": STOPPING, "seeds": [1, 2]}
    assert api.post(f"/v1/recommendations/{recommendation}/verifications", json=asked).status_code == 201
    *arms, last = [run["run_id"] for run in claim(api, agent)]
    for run in arms:
        measure(api, run, 1.0)
    measure(api, last, 9.0)
    assert state(api, last) == "leased"
    run = held(api, study, agent, 4)[0]
    measure(api, run, 9.0)
    assert state(api, run) == "leased", "six runs of the verification were measured, but no other one of the swarm"


def test_points_that_come_at_once_prune_each_hopeless_run_once(api: TestClient, study: str) -> None:
    agents = [register(api) for _ in range(6)]
    queue_runs(api, study, 30, settings=STOPPING)
    runs = [run["run_id"] for agent in agents for run in claim(api, agent, max_runs=5)]
    good, bad = runs[:20], runs[20:]
    for i, run in enumerate(good):
        measure(api, run, 2.0 - i / 100)
    with ThreadPoolExecutor(6) as pool:  # every one twice, as after an answer that was lost
        statuses = list(pool.map(lambda run: measure(api, run, 9.0), [run for run in bad for _ in range(2)]))
    states = {run: state(api, run) for run in bad}
    subjects = [event["subject_id"] for event in pruned_events(api, study)]
    assert set(statuses) <= {204, 409}
    assert sorted(subjects) == sorted(run for run, its in states.items() if its == "pruned")
    # Ten bad ones beside twenty good ones: with up to seven of them measured the 0.75 quantile lies below theirs.
    assert len(subjects) >= 8


# --- the points of a stack in one call ---


@pytest.mark.parametrize("order", [(1, 2, 3, 4, 7), (7, 4, 3, 2, 1)])
def test_each_run_of_a_stack_is_judged_by_all_the_others_in_whatever_order_they_are_told(
    api: TestClient, study: str, agent: str, order: tuple[int, ...]
) -> None:
    """The quantile 0.75 of the others is 3.25 for the worst run and 3 + (7 - 3) / 4, its own value, for the next."""
    runs = held(api, study, agent, 5)
    lost = measure_together(api, [(run, float(its), HALF) for run, its in zip(runs, order, strict=True)])
    assert lost == [runs[order.index(7)]]
    assert [state(api, run) for run in runs] == ["pruned" if its == 7 else "leased" for its in order]
    assert get_run(api, lost[0])["error"] == SENTENCE.replace("is 5", "is 7")


def test_a_run_that_a_point_gives_up_keeps_no_later_one(api: TestClient, study: str, agent: str) -> None:
    *others, hopeless = held(api, study, agent, 5)
    for other in others:
        measure(api, other, 1.0)
    told = [(hopeless, 0.1, 3072), (hopeless, 1.5, 1024), (hopeless, 2.0, HALF)]
    assert measure_together(api, told) == [hopeless]
    points = api.get(f"/v1/runs/{hopeless}/trajectory").json()["points"]
    assert [one["train_tokens"] for one in points] == [1024, HALF]
    run = get_run(api, hopeless)
    assert (run["state"], run["progress_tokens"]) == ("pruned", HALF)
    spent = api.get(f"/v1/studies/{study}").json()["budget"]["spent_flops"]
    assert spent == 6 * run["model_params"] * HALF
    assert measure_together(api, told) == [hopeless], "the same call again, as after an answer that was lost"
    assert len(pruned_events(api, study)) == 1


def test_stacks_of_two_studies_that_report_at_once_do_not_wait_for_each_other_in_a_ring(api: TestClient) -> None:
    """Studies are locked at the end, by their ids; in the order of runs half of them would lock them the other way."""
    studies = [create_study(api) for _ in range(2)]
    one, other = (sorted(run["id"] for run in queue_runs(api, study, 32, settings=STOPPING)) for study in studies)
    assert len(claim(api, register(api), max_runs=64)) == 64
    measure_together(api, [(run, 1.0, HALF) for run in (*one[4:-4], *other[4:-4])])
    calls = [
        [low, high]
        for lows, highs in ((one, other), (other, one))
        for low, high in zip(lows[:4], highs[-4:], strict=True)
    ]
    with ThreadPoolExecutor(len(calls)) as pool:
        lost = list(pool.map(lambda told: measure_together(api, [(run, 9.0, HALF) for run in told]), calls))
    assert [sorted(one) for one in lost] == [sorted(told) for told in calls]
    subjects = [event["subject_id"] for study in studies for event in pruned_events(api, study)]
    assert sorted(subjects) == sorted(run for told in calls for run in told), "each once"


# --- a rule that never acts ---

# A step of SETTINGS is 1024 tokens, and a run of 4096 is judged from 2048 on.
NEVER = (
    "early_stopping would never act: it judges measurements from token 2048 on and before the last one, but runs are "
    "measured after {} tokens only; put a count of that range into measure_at_tokens"
)


@pytest.mark.parametrize(
    ("measured_at", "measured"),
    [([], "4096"), ([100, 1024], "1024, 4096"), ([3073], "4096"), ([1, 4096], "1024, 4096")],
)
def test_a_rule_that_no_measurement_meets_is_refused_where_it_is_given(
    api: TestClient, study: str, measured_at: list[int], measured: str
) -> None:
    """3073 is measured after the next whole step, which is the last."""
    settings = STOPPING | {"measure_at_tokens": measured_at}
    sentence = NEVER.format(measured)
    run = {"weights": {"code": 0.5, "law": 0.3, "web": 0.2}, "settings": settings}
    refused = api.post(f"/v1/studies/{study}/runs", json={"runs": [run]})
    assert refused.status_code == 422
    assert sentence in refused.text
    body = {"name": "fill", "kind": "top-up", "cron": "0 0 * * *", "settings": {"runs": 6, "proxy": settings}}
    refused = api.post(f"/v1/studies/{study}/schedules", json=body)
    assert refused.status_code == 422
    assert sentence in refused.text


@pytest.mark.parametrize("measured_at", [[1025], [2048], [3072], [1, 3000, 4096]])
def test_a_rule_that_one_measurement_meets_is_taken(api: TestClient, study: str, measured_at: list[int]) -> None:
    (run,) = queue_runs(api, study, 1, settings=STOPPING | {"measure_at_tokens": measured_at})
    assert run["state"] == "queued"


def test_without_a_whole_last_step_the_end_is_the_last_measurement() -> None:
    told = {"corpus_hash": "c", "train_tokens": 5000, "early_stopping": RULE, "measure_at_tokens": [4097]}
    with pytest.raises(ValueError, match=r"from token 2500 on and before the last one, .* after 4096 tokens only"):
        ProxySettings.model_validate(told)
