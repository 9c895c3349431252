"""Logging in and out in a real browser."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from app.db import Database
from app.first_key import login_link
from tests.dashboard.conftest import KEY, Service, watched

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


def test_a_reader_logs_in_with_a_key_comes_back_to_the_page_and_logs_out(service: Service, browser: Any) -> None:
    with watched(browser) as window:
        page = window.page
        wanted = f"{service.url}/studies/{service.seeded['study']}?target=web"
        page.goto(wanted)
        assert page.url.startswith(f"{service.url}/login?next=")
        page.get_by_label("API key").fill("wrong")
        page.keyboard.press("Enter")
        page.get_by_text("this is no key of this service").wait_for()
        page.get_by_label("API key").fill(KEY)
        page.keyboard.press("Enter")
        page.wait_for_selector("#data table")
        assert page.url == wanted
        assert page.evaluate("localStorage.length + sessionStorage.length + document.cookie.length") == 0
        assert KEY not in page.content()
        (cookie,) = page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"], cookie["secure"], cookie["path"]) == (
            True,
            "Strict",
            False,
            "/",
        )

        page.get_by_role("link", name="OpenAPI").click()
        page.wait_for_url("**/v1/openapi.json")
        assert '"openapi"' in page.content()
        page.go_back()
        page.get_by_role("button", name="Log out").click()
        page.get_by_role("heading", name="Log in").wait_for()
        assert page.context.cookies() == []
        old = {cookie["name"]: cookie["value"]}
        assert httpx.get(f"{service.url}/v1/studies", cookies=old).status_code == 401
        assert window.violations() == []


def test_a_link_logs_in_by_a_click_and_only_once(service: Service, browser: Any) -> None:
    database = Database(service.settings.resolved_database_url)
    link = login_link(service.settings, database, datetime.now(UTC), service.url)
    database.dispose()
    for _ in range(3):  # programs that look at links in messages
        assert httpx.get(link).cookies.get("mixwright_login") is None
    with watched(browser) as window:
        window.page.goto(link)
        window.page.get_by_role("button", name="Log in").click()
        window.page.get_by_role("link", name="three domains").first.wait_for()
        assert window.errors == []
    with watched(browser) as second:
        second.page.goto(link)
        second.page.get_by_role("button", name="Log in").click()
        second.page.get_by_text("this link was used").wait_for()


def test_a_login_that_ended_leads_to_the_form_and_back(service: Service, browser: Any) -> None:
    with watched(browser, service) as window:
        page = window.page
        page.goto(service.url)
        page.get_by_role("link", name="three domains").first.wait_for()
        page.context.clear_cookies()
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # as when its reader returns
        page.get_by_role("heading", name="Log in").wait_for()
        page.get_by_label("API key").fill(KEY)
        page.keyboard.press("Enter")
        page.get_by_role("link", name="three domains").first.wait_for()


def test_a_reader_who_comes_from_another_site_stays_logged_in(service: Service, browser: Any) -> None:
    with watched(browser, service) as window:
        page = window.page
        page.route(
            "http://elsewhere.example/",
            lambda route: route.fulfill(body=f'<a href="{service.url}/">go</a>', content_type="text/html"),
        )
        page.goto("http://elsewhere.example/")
        page.get_by_role("link", name="go").click()
        page.get_by_role("link", name="three domains").first.wait_for()


@pytest.mark.parametrize("width", [1280, 360])
def test_the_form_fits_every_screen(service: Service, browser: Any, width: int) -> None:
    with watched(browser, viewport={"width": width, "height": 700}) as window:
        window.page.goto(f"{service.url}/login")
        assert window.page.evaluate("document.documentElement.scrollWidth") <= width
        assert window.errors == []
