"""What a process keeps of fits: a second prediction reads no run again, and memory has a limit."""

from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient
from sqlalchemy import event
from sqlalchemy.engine import Engine

from app.recent_values import RecentValues
from app.settings import Settings
from tests.app.study_bodies import create_study, weights
from tests.app.test_fit_and_recommend import make_fit, report_runs


def _statements(api: TestClient, url: str, **body: Any) -> tuple[list[str], Any]:
    """The statements that a prediction takes, and its answer."""
    seen: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *more: Any) -> None:
        del connection, cursor, more
        seen.append(" ".join(statement.lower().split()))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        answer = api.post(url, json=body)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert answer.status_code == 200, answer.text
    return seen, answer.json()


def test_a_second_prediction_reads_neither_runs_nor_law(api: TestClient, settings: Settings, clock) -> None:
    study = create_study(api)
    report_runs(api, study)
    fit = make_fit(api, study, settings, clock, laws=["log_linear", "mean"])
    url = f"/v1/fits/{fit['id']}/predictions"
    asked = {"weights": [weights(0.2, 0.3, 0.5)], "law": "log_linear"}
    first, answer = _statements(api, url, **asked)
    again, same = _statements(api, url, **asked)
    assert any("from runs" in one for one in first)
    assert not [one for one in again if "from runs" in one or "law_results.fitted" in one or "fits.run_ids" in one]
    assert same == answer
    assert answer["predictions"][0]["nearest_run"]
    other, _ = _statements(api, url, weights=asked["weights"], law="mean")
    assert any("law_results.fitted" in one for one in other)
    assert not any("from runs" in one for one in other)


def test_a_change_of_targets_is_seen_at_once(api: TestClient, settings: Settings, clock) -> None:
    """Weights of targets are the study's present ones: the kept runs must not keep those."""
    study = create_study(api)
    report_runs(api, study)
    fit = make_fit(api, study, settings, clock, laws=["log_linear"])
    url, asked = f"/v1/fits/{fit['id']}/predictions", {"weights": [weights(0.2, 0.3, 0.5)]}
    before = api.post(url, json=asked).json()["predictions"][0]
    name = next(iter(before["targets"]))
    page = f"/v1/studies/{study}/targets/{name}"
    etag = api.get(page).headers["etag"]
    assert api.patch(page, json={"weight": 50.0}, headers={"If-Match": etag}).status_code == 200
    after = api.post(url, json=asked).json()["predictions"][0]
    assert after["targets"] == before["targets"]
    assert after["objective"] != before["objective"]


def test_the_oldest_values_give_way_and_too_large_ones_are_not_kept() -> None:
    recent, read = RecentValues(max_bytes=10), []

    def ask(key: str, size: int) -> str:
        def make() -> tuple[str, int]:
            read.append(key)
            return key.upper(), size

        return recent.get(key, make)

    assert [ask("a", 4), ask("b", 4), ask("a", 4), ask("c", 4)] == ["A", "B", "A", "C"]
    assert (read, recent.held_bytes) == (["a", "b", "c"], 8)
    ask("a", 4)  # used last before c came, so b gave way
    ask("b", 4)
    assert read == ["a", "b", "c", "b"]
    ask("huge", 11)
    ask("huge", 11)
    assert (read[-2:], recent.held_bytes) == (["huge", "huge"], 8)
