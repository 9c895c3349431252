"""What the pages say when there is nothing yet, when something is wrong, and when somebody means harm."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Any
from uuid import uuid4

import pytest

from tests.dashboard.conftest import KEY, Service, Watched, watched
from tests.dashboard.seeding import create_study, queue, train, work

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect


def test_an_empty_service_says_how_to_begin(fresh_service: Service, seen: Watched) -> None:
    seen.page.goto(fresh_service.url)
    seen.page.get_by_role("heading", name="No studies yet").wait_for()
    commands = seen.page.locator("pre").all_inner_texts()
    assert commands[0] == "mixwright demo --keep"
    _run_curl(commands[1])
    assert fresh_service.api.get("/v1/studies").json()["items"][0]["name"] == "my first study"


def _run_curl(command: str) -> None:
    """Run a line that a page shows, as its reader would."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    done = subprocess.run(
        ["sh", "-c", command.replace("curl", "curl -sf", 1)],
        env=os.environ | {"MIXWRIGHT_API_KEY": KEY},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)


@pytest.mark.slow
def test_every_next_step_of_a_study_is_a_command_that_works(service: Service, seen: Watched) -> None:
    study = create_study(service.api, name="it's new")
    page = seen.page
    page.goto(f"{service.url}/studies/{study}")
    page.get_by_role("heading", name="No runs yet").wait_for()
    assert page.locator("#weights .plot .bars .point").count() in (0, 3)  # the prior, once Plotly is loaded
    _run_curl(page.locator("#runs pre").first.inner_text())
    queue(service.api, study, 12)
    train(service.api, 12)
    page.reload()
    page.get_by_role("heading", name="No law is fitted yet").wait_for()
    _run_curl(page.locator("#fidelity pre").inner_text())
    work(service.settings)
    page.reload()
    page.get_by_role("heading", name="No recommendation yet").wait_for()
    _run_curl(page.locator("#weights pre").inner_text())
    work(service.settings)
    page.reload()
    page.get_by_role("heading", name="Not verified yet").wait_for()
    assert "/verifications" in page.locator("#verification pre").inner_text()


def test_an_unknown_study_is_one_sentence(service: Service, browser: Any) -> None:
    unknown = uuid4()
    with watched(browser, service) as window:
        window.page.goto(f"{service.url}/studies/{unknown}")
        window.page.get_by_text(f"there is no study {unknown}").wait_for()
        assert not window.page.locator("#study").is_visible()
        window.page.goto(f"{service.url}/studies/not-an-id")
        window.page.wait_for_selector("#problem .notice.bad")
        assert window.violations() == []


@pytest.mark.slow
def test_a_service_that_goes_away_is_said_and_what_was_shown_stays(service: Service, browser: Any) -> None:
    with watched(browser, service) as window:
        page = window.page
        page.goto(f"{service.url}/studies/{service.seeded['study']}")
        page.wait_for_selector("#runs tbody tr")
        page.context.set_offline(True)
        page.get_by_label("Target", exact=True).select_option("web")
        page.get_by_text("The service does not answer").first.wait_for()
        page.locator("#live").filter(has_text="no connection").wait_for()
        assert page.locator("#runs tbody tr").count() == 15
        page.context.set_offline(False)
        page.locator("#problem .notice").wait_for(state="detached")


@pytest.mark.slow
def test_nothing_sticks_out_at_any_width(service: Service, seen: Watched) -> None:
    page = seen.page
    page.goto(f"{service.url}/studies/{service.seeded['study']}")
    page.wait_for_selector("#predicted .plot .scatterlayer .point")
    for width in (1280, 768, 360):
        page.set_viewport_size({"width": width, "height": 800})
        # Plotly draws again once the width has settled.
        page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width)


def test_dark_and_light_follow_the_reader_also_while_the_page_is_open(service: Service, browser: Any) -> None:
    with watched(browser, service, color_scheme="dark") as window:
        page = window.page
        page.goto(f"{service.url}/studies/{service.seeded['study']}")
        page.wait_for_selector("#weights .plot .bars .point path")
        colour = (
            "getComputedStyle(document.querySelectorAll('#weights .plot .trace.bars')[1].querySelector('path')).fill"
        )
        ground = "getComputedStyle(document.body).backgroundColor"
        assert page.evaluate(ground) == "rgb(16, 21, 27)"
        assert page.evaluate(colour) == "rgb(86, 180, 233)"
        page.emulate_media(color_scheme="light")
        assert page.evaluate(ground) == "rgb(245, 246, 248)"
        expect(page.locator("#weights .plot .trace.bars").nth(1).locator("path").first).to_have_css(
            "fill", "rgb(0, 114, 178)"
        )
