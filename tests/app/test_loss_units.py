"""A target takes what agents measured in its own unit; a run never gets a number of another one."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from app.db import Database
from app.models import Run
from tests.app.study_bodies import claim, create_study, get_run, queue_runs, register, result

TARGETS = [{"name": "code", "unit": "nats_per_token"}, {"name": "web"}, {"name": "arc", "direction": "maximize"}]
BOTH = {"value": 0.5, "stderr": 0.1, "nats_per_token": 2.5, "nats_per_token_stderr": 0.25}
BITS = {"value": 0.5, "stderr": 0.1}
IN_BITS, IN_NATS = {"value": 0.5, "stderr": 0.1}, {"value": 2.5, "stderr": 0.25}


def train(api: TestClient, targets: list[dict[str, Any]], **told: Any) -> str:
    """A run that an agent has ended with what is ``told``."""
    study = create_study(api, targets=targets)
    queue_runs(api, study, 1)
    run = claim(api, register(api))[0]["run_id"]
    response = api.post(f"/v1/runs/{run}/complete", json={"attempt": 1, "result": result() | told})
    assert response.status_code == 204, response.text
    return run


def test_each_target_takes_its_own_unit(api: TestClient) -> None:
    run = train(api, TARGETS, losses={"code": BOTH, "web": BOTH}, metrics={"arc": {"value": 0.3}})
    assert get_run(api, run)["losses"] == {"code": IN_NATS, "web": IN_BITS, "arc": {"value": 0.3, "stderr": None}}


def test_a_run_shows_its_losses_in_both_units_where_both_were_measured(api: TestClient) -> None:
    run = get_run(api, train(api, TARGETS, losses={"code": BOTH, "web": BOTH, "law": BITS}))
    assert run["bits_per_byte"] == {"code": IN_BITS, "web": IN_BITS, "law": IN_BITS}
    assert run["nats_per_token"] == {"code": IN_NATS, "web": IN_NATS}


def test_a_run_without_losses_of_an_agent_has_them_in_no_unit(api: TestClient, study: str) -> None:
    (run,) = queue_runs(api, study, 1)
    assert (run["bits_per_byte"], run["nats_per_token"]) == (None, None)


def test_a_metric_is_taken_as_it_is_even_where_a_loss_has_its_name(api: TestClient) -> None:
    run = train(api, TARGETS, losses={"code": BOTH, "web": BOTH}, metrics={"code": {"value": 7.0}})
    assert get_run(api, run)["losses"]["code"] == {"value": 7.0, "stderr": None}


def test_bits_do_not_stand_in_for_nats(api: TestClient) -> None:
    run = train(api, TARGETS, losses={"code": BITS, "web": BITS})
    stored = get_run(api, run)
    assert (stored["state"], stored["losses"]) == ("succeeded", {"web": IN_BITS})


def test_a_run_with_nothing_in_the_unit_of_a_target_fails_and_says_so(api: TestClient) -> None:
    run = train(api, TARGETS[:1], losses={"code": BITS, "web": BITS})
    stored = get_run(api, run)
    assert (stored["state"], stored["losses"]) == ("failed", None)
    assert stored["error"] == (
        "it measured code in bits per byte only, but the study's unit of these targets is nats_per_token; "
        "set their unit to bits_per_byte, or let the agent report nats per token"
    )


def test_points_of_the_trajectory_are_in_the_units_of_the_targets(api: TestClient) -> None:
    study = create_study(api, targets=TARGETS)
    queue_runs(api, study, 1)
    run = claim(api, register(api))[0]["run_id"]
    first = {"train_tokens": 1024, "losses": {"code": BOTH, "web": BOTH, "law": BOTH}}
    assert api.post(f"/v1/runs/{run}/measurements", json={"attempt": 1, "point": first}).status_code == 204
    second = {"train_tokens": 2048, "losses": {"code": BITS, "web": BITS}, "metrics": {"arc": {"value": 0.2}}}
    done = result(losses={"web": BOTH}, trajectory=[second])
    assert api.post(f"/v1/runs/{run}/complete", json={"attempt": 1, "result": done}).status_code == 204
    points = [point["losses"] for point in api.get(f"/v1/runs/{run}/trajectory").json()["points"]]
    assert points == [{"code": IN_NATS, "web": IN_BITS}, {"web": IN_BITS, "arc": {"value": 0.2, "stderr": None}}]


def test_the_table_holds_nothing_of_units_that_were_not_told(api: TestClient, database: Database) -> None:
    run = train(api, TARGETS, losses={"web": BITS})
    with database.read() as session:
        row = session.get_one(Run, UUID(run))
        assert row.losses == {"web": IN_BITS}
        assert row.result is not None
        assert row.result["losses"] == {"web": IN_BITS}


def test_losses_of_a_manual_run_are_in_the_unit_of_the_target_and_nothing_else(api: TestClient) -> None:
    study = create_study(api, targets=TARGETS)
    run = {"weights": {"code": 1.0}, "losses": {"code": BOTH, "web": 2.0}}
    refusal = api.post(f"/v1/studies/{study}/runs", json={"runs": [run]})
    assert refusal.status_code == 422
    assert "nats_per_token" in refusal.text
    taken = api.post(f"/v1/studies/{study}/runs", json={"runs": [run | {"losses": {"code": IN_NATS, "web": 2.0}}]})
    assert taken.json()["runs"][0]["losses"] == {"code": IN_NATS, "web": {"value": 2.0, "stderr": None}}


@pytest.mark.parametrize(("unit", "status"), [("bits_per_byte", 409), ("nats_per_token", 200)])
def test_the_unit_of_what_agents_have_measured_stays(api: TestClient, unit: str, status: int) -> None:
    run = train(api, TARGETS, losses={"code": BOTH})
    url = f"/v1/studies/{get_run(api, run)['study_id']}/targets/code"
    etag = api.get(url).headers["etag"]
    changed = api.patch(url, json={"unit": unit}, headers={"If-Match": etag})
    assert changed.status_code == status, changed.text
