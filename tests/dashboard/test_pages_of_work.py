"""The pages beside the study: imports, schedules, events, agents and keys."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.dashboard.conftest import Service, Watched, watched
from tests.dashboard.seeding import create_study

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

SWARM = """run_id,model_params,train_tokens,w:code,w:law,w:web,loss:code,loss:web
one,1000,4096,0.5,0.3,0.2,1.7,2.5
two,1000,4096,0.2,0.3,0.5,1.9,2.2
three,1000,4096,0.9,0.9,0.9,1.9,2.2
"""


def test_an_import_is_checked_first_and_its_report_says_what_was_skipped(
    service: Service, seen: Watched, tmp_path: Path
) -> None:
    study = create_study(service.api, name="imported")
    (tmp_path / "runs.csv").write_text(SWARM, encoding="utf-8")
    page = seen.page
    page.goto(f"{service.url}/studies/{study}/imports")
    page.get_by_label("Files").set_input_files(tmp_path / "runs.csv")
    page.get_by_role("button", name="Import").click()
    page.get_by_text("dry run: nothing is stored").wait_for()
    assert page.locator("#report dd").all_inner_texts()[:2] == ["3", "2"]
    assert "wrong weights" in page.locator("#report table").inner_text()
    assert service.api.get(f"/v1/studies/{study}").json()["run_counts"].get("succeeded", 0) == 0
    page.get_by_label("dry run: store nothing").uncheck()
    page.get_by_role("button", name="Import").click()
    page.locator("#report").get_by_text("✓ stored").wait_for()
    assert service.api.get(f"/v1/studies/{study}").json()["run_counts"]["succeeded"] == 2
    expect(page.locator("#past tbody tr")).to_have_count(1)
    page.reload()  # the address names the report
    page.locator("#report").get_by_text("✓ stored").wait_for()


def test_a_refused_import_is_one_sentence(service: Service, seen: Watched) -> None:
    study = create_study(service.api, name="imported from nowhere")
    seen.page.goto(f"{service.url}/studies/{study}/imports?format=mlflow")
    seen.page.get_by_label("url").fill("not an address")
    seen.page.get_by_label("experiment ids").fill("1\n2")
    seen.page.get_by_role("button", name="Import").click()
    expect(seen.page.locator("#form .refusal")).not_to_be_empty()
    seen.errors.clear()  # Chromium reports a refusal as an error of its own


def test_a_schedule_is_paused_resumed_and_fired_and_its_history_shown(service: Service, seen: Watched) -> None:
    study = create_study(service.api, name="by the clock")
    body = {"name": "nightly", "kind": "refit", "cron": "30 2 * * *", "time_zone": "Europe/Berlin"}
    schedule = service.api.post(f"/v1/studies/{study}/schedules", json=body).json()["id"]
    page = seen.page
    page.goto(f"{service.url}/studies/{study}/schedules")
    page.get_by_text("and 4 more").wait_for()
    page.get_by_role("button", name="Pause: nightly").click()
    page.get_by_text("‖ paused").wait_for()
    assert service.api.get(f"/v1/schedules/{schedule}").json()["enabled"] is False
    page.get_by_role("button", name="Resume: nightly").click()
    page.get_by_text("✓ on").wait_for()
    page.get_by_role("button", name="Fire now: nightly").click()
    page.locator("#firings").get_by_text("asked for").wait_for()
    assert len(service.api.get(f"/v1/schedules/{schedule}/firings").json()["items"]) == 1


def test_events_appear_while_the_page_is_open(service: Service, seen: Watched) -> None:
    page = seen.page
    with page.expect_response(re.compile("/v1/events/stream")):
        page.goto(f"{service.url}/events?kind=study.")
    page.wait_for_selector("#events tbody tr")
    create_study(service.api, name="made while someone looks")
    expect(page.locator("#events tbody tr").first).to_contain_text("made while someone looks")
    assert all(kind.startswith("study.") for kind in page.locator("#events tbody th").all_inner_texts())


def test_an_agent_is_let_drain(service: Service, seen: Watched) -> None:
    agent = service.api.post("/v1/agents", json={"name": "box 7", "device": "H100"}).json()["id"]
    seen.page.goto(f"{service.url}/agents")
    seen.page.get_by_role("button", name="Drain: box 7").click()
    seen.page.get_by_role("button", name="Give runs: box 7").wait_for()
    assert service.api.get(f"/v1/agents/{agent}").json()["draining"] is True


def test_a_key_is_shown_once_works_and_is_revoked(service: Service, seen: Watched) -> None:
    page = seen.page
    page.goto(f"{service.url}/keys")
    page.get_by_label("Name").fill("of the pipeline")
    page.get_by_role("button", name="Make the key").click()
    key = page.locator("#make pre").inner_text()
    headers = {"Authorization": f"Bearer {key}"}
    assert httpx.get(f"{service.url}/v1/studies", headers=headers).status_code == 200
    assert httpx.post(f"{service.url}/v1/studies", headers=headers, json={}).status_code == 403
    page.reload()
    revoke = page.get_by_role("button", name="Revoke: of the pipeline")
    revoke.wait_for()
    assert key not in page.content()
    revoke.click()
    revoke.click()
    page.get_by_text("✕ revoked").wait_for()
    assert httpx.get(f"{service.url}/v1/studies", headers=headers).status_code == 401


@pytest.fixture(scope="module")
def reader(service: Service) -> Service:
    """The service as somebody with a key that may only look sees it."""
    key = service.api.post("/v1/keys", json={"name": "a reader", "scopes": ["read"]}).json()["key"]
    ((name, value),) = httpx.post(f"{service.url}/login", data={"key": key}).cookies.items()
    cookie = service.cookie | {"name": name, "value": value}
    return Service(service.url, service.settings, service.api, cookie, service.seeded)


def test_a_reader_sees_why_buttons_do_nothing(reader: Service, browser: Any) -> None:
    with watched(browser, reader) as window:
        page = window.page
        page.goto(f"{reader.url}/studies/{reader.seeded['study']}")
        page.wait_for_selector("#what-if table")  # looking and asking are allowed
        exclude = page.locator("#runs").get_by_role("button", name=re.compile("Exclude")).first
        assert exclude.is_disabled()
        assert "lacks the scope “write”" in (exclude.get_attribute("title") or "")
        assert "may look, not change" in page.locator("header.site").inner_text()
        page.goto(f"{reader.url}/studies/{reader.seeded['study']}/imports")
        page.locator("#form .refusal").get_by_text("lacks the scope").wait_for()
        assert window.errors == []
        assert page.get_by_role("link", name="Keys").count() == 0
        page.goto(f"{reader.url}/keys")
        page.locator("#problem").get_by_text("scope 'admin'").wait_for()
