"""Schedules: each due time fires once however many workers look, and its history says what came of it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from app.db import Database
from app.housekeeping import Housekeeping
from app.main import create_app
from app.services.firings import MOST_MADE_UP, fire_due
from app.settings import Settings
from app.worker import Worker
from tests.app.conftest import BEARER, LOCAL, StandingClock
from tests.app.study_bodies import SETTINGS, weights

TOP_UP = {"runs": 4, "proxy": SETTINGS}
HOUR = 3600.0


def _plan(api: TestClient, study: str, **changes: Any) -> dict[str, Any]:
    body = {"name": "nightly", "kind": "top-up", "cron": "0 * * * *", "settings": TOP_UP} | changes
    response = api.post(f"/v1/studies/{study}/schedules", json=body)
    assert response.status_code == 201, response.text
    return response.json()


def _firings(api: TestClient, schedule: dict[str, Any]) -> list[dict[str, Any]]:
    """Newest first."""
    return api.get(f"/v1/schedules/{schedule['id']}/firings").json()["items"]


def _dues(api: TestClient, schedule: dict[str, Any]) -> list[tuple[str, str]]:
    return [(firing["due_at"][:16], firing["cause"]) for firing in _firings(api, schedule)]


@pytest.fixture
def work(settings: Settings, database: Database, clock: StandingClock) -> Callable[[], None]:
    """Looks at the schedules and works until nothing waits."""

    def until_nothing_waits() -> None:
        keeper = Housekeeping(settings, database, clock)
        with Worker(settings, clock) as worker:
            keeper.look()
            while worker.work_once():
                clock.advance(1)
                keeper.look()

    return until_nothing_waits


def test_a_schedule_shows_its_next_five_firings_on_the_clocks_of_its_zone(api: TestClient, study: str) -> None:
    made = _plan(api, study, cron="30 2 * * *", time_zone="Europe/Berlin")
    assert made["next_firings"][0] == {"at": "2026-01-01T01:30:00Z", "local": "2026-01-01T02:30:00+01:00"}
    assert len(made["next_firings"]) == 5
    assert api.get(f"/v1/schedules/{made['id']}").json() == made
    assert api.get(f"/v1/studies/{study}/schedules").json()["items"] == [made]


def test_two_calls_of_one_instant_are_two_firings(api: TestClient, study: str) -> None:
    schedule = _plan(api, study)
    answers = [api.post(f"/v1/schedules/{schedule['id']}/fire") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 202]
    dues = {firing["due_at"] for firing in _firings(api, schedule)}
    assert dues == {"2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000001Z", "2026-01-01T00:00:00.000002Z"}


def test_a_top_up_queues_what_is_missing_and_no_more(
    api: TestClient, study: str, clock: StandingClock, work: Callable[[], None]
) -> None:
    api.post(f"/v1/studies/{study}/runs", json={"runs": [{"weights": weights(1, 0, 0), "settings": SETTINGS}]})
    schedule = _plan(api, study)
    clock.advance(HOUR + 1)
    work()
    (firing,) = _firings(api, schedule)
    assert (firing["state"], firing["outcome"]["runs_queued"], firing["error"]) == ("succeeded", 3, None)
    assert api.get(f"/v1/studies/{study}").json()["run_counts"]["queued"] == 4
    assert firing["due_at"] == "2026-01-01T01:00:00Z"
    assert firing["started_at"] is not None
    assert firing["finished_at"] is not None

    clock.advance(HOUR)
    work()
    firing, _ = _firings(api, schedule)
    assert (firing["outcome"], firing["message"]) == ({"runs_queued": 0}, "the study has 4 such runs already")
    assert api.get(f"/v1/studies/{study}").json()["run_counts"]["queued"] == 4


def test_a_second_top_up_proposes_other_mixtures(
    api: TestClient, study: str, clock: StandingClock, work: Callable[[], None]
) -> None:
    schedule = _plan(api, study)
    clock.advance(HOUR)
    work()
    before = api.get(f"/v1/schedules/{schedule['id']}")
    body = {"settings": TOP_UP | {"runs": 8}}
    api.patch(f"/v1/schedules/{schedule['id']}", json=body, headers={"If-Match": before.headers["ETag"]})
    clock.advance(HOUR)
    work()
    mixtures = [tuple(run["weights"].values()) for run in api.get(f"/v1/studies/{study}/runs").json()["items"]]
    assert len(set(mixtures)) == len(mixtures) == 8


def test_a_refit_makes_a_fit_then_its_recommendation_and_adopts_it(
    api: TestClient, study: str, clock: StandingClock, work: Callable[[], None]
) -> None:
    _report_runs(api, study)
    wishes = {"fit": {"laws": ["mean", "log_linear"]}, "recommendation": {"law": "log_linear"}, "adopt": True}
    schedule = _plan(api, study, kind="refit", settings=wishes)
    clock.advance(HOUR)
    work()
    (firing,) = _firings(api, schedule)
    assert (firing["state"], firing["error"]) == ("succeeded", None)
    fit = api.get(f"/v1/fits/{firing['outcome']['fit_id']}").json()
    assert (fit["state"], fit["study_id"]) == ("succeeded", study)
    assert api.get(f"/v1/studies/{study}/weights").json()["recommendation_id"] == firing["outcome"]["recommendation_id"]


def test_a_refit_waits_without_holding_a_worker_and_counts_as_running(
    api: TestClient, study: str, settings: Settings, database: Database, clock: StandingClock
) -> None:
    _report_runs(api, study)
    schedule = _plan(api, study, kind="refit", settings={"fit": {"laws": ["mean"]}, "recommend": False})
    clock.advance(HOUR)
    Housekeeping(settings, database, clock).look()
    with Worker(settings, clock) as worker:
        assert worker.work_once()
        (firing,) = _firings(api, schedule)
        assert (firing["state"], firing["finished_at"]) == ("running", None)
        assert worker.work_once()  # the fit itself
        Housekeeping(settings, database, clock).look()
        assert _firings(api, schedule)[0]["state"] == "running"
        assert worker.work_once()
    assert _firings(api, schedule)[0]["message"] == "the fit chose mean"


def test_a_firing_that_cannot_be_done_says_why(
    api: TestClient, study: str, clock: StandingClock, work: Callable[[], None]
) -> None:
    schedule = _plan(api, study, kind="refit", settings={})
    clock.advance(HOUR)
    work()
    (firing,) = _firings(api, schedule)
    assert firing["state"] == "failed"
    assert "has no measured run that may enter a fit" in firing["error"]


def test_a_refit_whose_fit_failed_says_so(
    api: TestClient, study: str, clock: StandingClock, work: Callable[[], None]
) -> None:
    run = {"weights": weights(1, 0, 0), "losses": {"code": 1.0, "web": 2.0}}
    api.post(f"/v1/studies/{study}/runs", json={"runs": [run]})
    schedule = _plan(api, study, kind="refit", settings={"fit": {"laws": ["log_linear"]}})
    clock.advance(HOUR)
    work()
    (firing,) = _firings(api, schedule)
    assert firing["state"] == "failed"
    assert f"fit {firing['outcome']['fit_id']} failed" in firing["error"]


def test_workers_that_look_at_once_fire_once(
    api: TestClient, study: str, settings: Settings, clock: StandingClock
) -> None:
    """Two workers with their own connections, eight times each, at the same moments."""
    schedules = [_plan(api, study, name=f"number {i}") for i in range(4)]
    clock.advance(HOUR)
    databases = [Database(settings.resolved_database_url) for _ in range(2)]
    with ThreadPoolExecutor(8) as pool:
        fired = list(pool.map(lambda i: fire_due(databases[i % 2], 3, clock()), range(16)))
    for database in databases:
        database.dispose()
    assert sum(fired) == len(schedules)
    assert [_dues(api, schedule) for schedule in schedules] == [[("2026-01-01T01:00", "due")]] * 4


def test_two_workers_that_race_do_the_work_once(
    api: TestClient, study: str, settings: Settings, clock: StandingClock
) -> None:
    schedule = _plan(api, study)
    clock.advance(HOUR)

    def live(_: int) -> None:
        database = Database(settings.resolved_database_url)
        with Worker(settings, clock) as worker:
            for _ in range(3):
                Housekeeping(settings, database, clock).look()
                worker.work_once()
        database.dispose()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(live, range(2)))
    assert [firing["outcome"]["runs_queued"] for firing in _firings(api, schedule)] == [4]
    assert api.get(f"/v1/studies/{study}").json()["run_counts"]["queued"] == 4


def test_a_clock_that_steps_back_fires_nothing_twice(
    api: TestClient, study: str, database: Database, clock: StandingClock
) -> None:
    schedule = _plan(api, study)
    clock.advance(2 * HOUR + 1)
    fire_due(database, 3, clock())
    clock.advance(-2 * HOUR)
    assert fire_due(database, 3, clock()) == 0
    # Resumed on the wrong clock it looks forward to a time that it has fired already.
    _patch(api, schedule, enabled=False)
    _patch(api, schedule, enabled=True)
    clock.advance(2 * HOUR)
    assert fire_due(database, 3, clock()) == 0
    assert sorted(_dues(api, schedule)) == [("2026-01-01T01:00", "skipped"), ("2026-01-01T02:00", "due")]
    clock.advance(HOUR)
    assert fire_due(database, 3, clock()) == 1


def _patch(api: TestClient, schedule: dict[str, Any], **changes: Any) -> dict[str, Any]:
    etag = api.get(f"/v1/schedules/{schedule['id']}").headers["ETag"]
    response = api.patch(f"/v1/schedules/{schedule['id']}", json=changes, headers={"If-Match": etag})
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize(
    ("missed", "expected"),
    [
        ("skip", [("2026-01-01T05:00", "skipped")]),
        ("once", [("2026-01-01T05:00", "missed"), ("2026-01-01T04:00", "skipped")]),
        ("all", [(f"2026-01-01T0{hour}:00", "missed") for hour in (5, 4, 3, 2, 1)]),
    ],
)
def test_missed_firings_are_made_up_for_as_configured(
    api: TestClient,
    study: str,
    database: Database,
    clock: StandingClock,
    missed: str,
    expected: list[tuple[str, str]],
) -> None:
    schedule = _plan(api, study, missed=missed)
    clock.advance(5.5 * HOUR)
    fire_due(database, 3, clock())
    assert sorted(_dues(api, schedule), reverse=True) == expected
    assert api.get(f"/v1/schedules/{schedule['id']}").json()["next_firings"][0]["at"] == "2026-01-01T06:00:00Z"


def test_a_long_absence_is_made_up_for_within_bounds(
    api: TestClient, study: str, database: Database, clock: StandingClock
) -> None:
    schedule = _plan(api, study, cron="* * * * *", missed="all")
    clock.advance(90 * 24 * HOUR)
    assert fire_due(database, 3, clock()) == MOST_MADE_UP
    firings = _firings(api, schedule)
    assert max(firing["due_at"] for firing in firings) == "2026-04-01T00:00:00Z"
    (skipped,) = [firing for firing in firings if firing["cause"] == "skipped"]
    assert skipped["message"].startswith("1000 or more firings from 2026-01-01T00:01:00+00:00 on were missed")


@pytest.mark.parametrize(
    ("night", "expected"),
    [(datetime(2026, 3, 29, tzinfo=UTC), "2026-03-29T01:00"), (datetime(2026, 10, 25, tzinfo=UTC), "2026-10-25T00:30")],
)
def test_the_nights_of_clock_changes_fire_once(
    api: TestClient, study: str, database: Database, clock: StandingClock, night: datetime, expected: str
) -> None:
    clock.now = night - timedelta(hours=2)
    schedule = _plan(api, study, cron="30 2 * * *", time_zone="Europe/Berlin")
    for _ in range(8 * 12):
        clock.advance(300)
        fire_due(database, 3, clock())
    assert _dues(api, schedule) == [(expected, "due")]


def test_a_paused_schedule_fires_only_by_hand(
    api: TestClient, study: str, clock: StandingClock, work: Callable[[], None]
) -> None:
    schedule = _plan(api, study, enabled=False)
    assert schedule["next_firings"] == []
    clock.advance(HOUR)
    work()
    assert _firings(api, schedule) == []
    response = api.post(f"/v1/schedules/{schedule['id']}/fire")
    assert (response.status_code, response.json()["cause"]) == (202, "manual")
    work()
    assert _firings(api, schedule)[0]["outcome"]["runs_queued"] == 4


def test_a_change_needs_the_version_that_was_read(api: TestClient, study: str, clock: StandingClock) -> None:
    schedule = _plan(api, study)
    url = f"/v1/schedules/{schedule['id']}"
    assert api.patch(url, json={"name": "other"}).status_code == 428
    etag = api.get(url).headers["ETag"]
    assert api.get(url, headers={"If-None-Match": etag}).status_code == 304
    assert api.patch(url, json={"cron": "5 * * * *"}, headers={"If-Match": etag}).status_code == 200
    assert api.patch(url, json={"name": "other"}, headers={"If-Match": etag}).status_code == 412
    assert api.delete(url, headers={"If-Match": etag}).status_code == 412


def test_a_firing_in_between_is_no_other_version(
    api: TestClient, study: str, clock: StandingClock, database: Database
) -> None:
    schedule = _plan(api, study)
    url = f"/v1/schedules/{schedule['id']}"
    etag = api.get(url).headers["ETag"]
    clock.advance(HOUR)
    fire_due(database, 3, clock())
    assert api.get(url, headers={"If-None-Match": etag}).status_code == 200
    assert api.patch(url, json={"name": "other"}, headers={"If-Match": etag}).status_code == 200


def test_a_deleted_schedule_takes_back_what_has_not_begun(
    api: TestClient, study: str, clock: StandingClock, work: Callable[[], None]
) -> None:
    schedule = _plan(api, study)
    api.post(f"/v1/schedules/{schedule['id']}/fire")
    url = f"/v1/schedules/{schedule['id']}"
    assert api.delete(url, headers={"If-Match": "*"}).status_code == 204
    assert api.get(url).status_code == 404
    work()
    assert api.get(f"/v1/studies/{study}").json()["run_counts"]["queued"] == 0


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"kind": "dance"}, "kind"),
        ({"cron": "99 * * * *"}, "cron"),
        ({"cron": ""}, "cron"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"settings": {"runs": 0, "proxy": SETTINGS}}, "settings.runs"),
        ({"settings": {"runs": 4}}, "settings.proxy"),
        ({"settings": TOP_UP | {"design": "magic"}}, "settings.design"),
        ({"settings": TOP_UP | {"count": 1}}, "settings.count"),
        ({"kind": "refit", "settings": {"fit": {"laws": ["magic"]}}}, "settings.fit.laws"),
        ({"kind": "refit", "settings": {"adopt": True, "recommend": False}}, "settings.adopt"),
        ({"kind": "refit", "settings": {"recommendation": {"seed": -1}}}, "settings.recommendation.seed"),
        ({"kind": "refit", "settings": {"recommendation": {"fit_id": "0"}}}, "settings.recommendation.fit_id"),
        ({"kind": "import", "settings": {"format": "regmix-csv"}}, "settings.format"),
        ({"kind": "import", "settings": {"format": "mlflow", "options": {}}}, "settings.options.url"),
        ({"missed": "twice"}, "missed"),
    ],
)
def test_a_wrong_schedule_is_refused_by_the_name_of_its_field(
    api: TestClient, study: str, changes: dict[str, Any], field: str
) -> None:
    body = {"name": "nightly", "kind": "top-up", "cron": "0 * * * *", "settings": TOP_UP} | changes
    response = api.post(f"/v1/studies/{study}/schedules", json=body)
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"].endswith(field)


def test_a_tracker_that_may_not_be_asked_is_refused_as_a_direct_import_is(
    api: TestClient, study: str, settings: Settings, clock: StandingClock
) -> None:
    wanted = {"format": "mlflow", "options": {"url": "https://mlflow.test", "experiment_ids": ["7"]}}
    elsewhere = {"format": "mlflow", "options": {"url": "https://elsewhere.test", "experiment_ids": ["7"]}}
    body = {"name": "hourly", "kind": "import", "cron": "0 * * * *"}

    def told(response: Response) -> dict[str, Any]:
        assert response.status_code == 422
        return {name: value for name, value in response.json().items() if name != "instance"}

    direct = told(api.post(f"/v1/studies/{study}/imports", json=wanted))
    assert "mlflow.test:443 is not among the servers that this one may ask (none)" in direct["detail"]
    assert told(api.post(f"/v1/studies/{study}/schedules", json=body | {"settings": wanted})) == direct

    allowed = settings.model_copy(update={"import_hosts": ("mlflow.test",)})
    with TestClient(create_app(allowed, clock), base_url=LOCAL, headers=BEARER) as permitted:
        made = _plan(permitted, study, **body, settings=wanted)
        url = f"/v1/schedules/{made['id']}"
        refused = told(permitted.patch(url, json={"settings": elsewhere}, headers={"If-Match": "*"}))
        assert refused == told(permitted.post(f"/v1/studies/{study}/imports", json=elsewhere))
        assert permitted.get(url).json()["settings"]["options"]["url"] == "https://mlflow.test"
    # The list was shortened meanwhile: it can be paused and renamed, and does not begin again.
    assert api.patch(url, json={"enabled": False, "name": "off"}, headers={"If-Match": "*"}).status_code == 200
    assert told(api.patch(url, json={"enabled": True}, headers={"If-Match": "*"})) == direct
    assert api.get(url).json()["enabled"] is False


def _report_runs(api: TestClient, study: str) -> None:
    """Measured runs whose loss falls with the share of the target's own domain."""
    grid = [(i / 4, j / 4, 1 - i / 4 - j / 4) for i in range(5) for j in range(5 - i)]
    runs = [
        {"weights": weights(*p), "losses": {"code": 1 + 2 * (1 - p[0]) ** 2, "web": 1 + 2 * (1 - p[2]) ** 2}}
        for p in grid
    ]
    response = api.post(f"/v1/studies/{study}/runs", json={"runs": runs})
    assert response.status_code == 201, response.text
