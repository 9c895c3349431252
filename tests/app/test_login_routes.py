"""Logins as a browser makes them, without a browser: cookies, links, origins."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from app.db import Database
from app.first_key import login_link
from app.main import create_app
from app.settings import Settings
from tests.app.conftest import LOCAL, OWNER_KEY, StandingClock
from tests.app.study_bodies import study_body
from tests.app.test_key_routes import bearer, kinds, make

FROM_US = {"Origin": LOCAL}


@pytest.fixture
def browser(settings: Settings, clock: StandingClock):
    """Has no key and keeps cookies."""
    with TestClient(create_app(settings, clock), base_url=LOCAL, follow_redirects=False) as client:
        yield client


def log_in(browser: TestClient, key: str = OWNER_KEY, **fields: str) -> Any:
    return browser.post("/login", data={"key": key} | fields, headers=FROM_US)


def calls(browser: TestClient) -> int:
    return browser.get("/v1/studies").status_code


def test_a_key_is_exchanged_for_a_cookie_that_scripts_do_not_see(browser: TestClient, database: Database) -> None:
    answer = log_in(browser)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("mixwright_login_8321=")
    assert cookie.split("; ")[1:] == ["HttpOnly", "Max-Age=43200", "Path=/", "SameSite=strict"]
    assert OWNER_KEY not in cookie
    assert calls(browser) == 200
    assert browser.get("/").status_code == 200
    assert kinds(database) == ["login.created"]


@pytest.mark.parametrize(("host", "secure"), [("localhost:8321", False), ("mix.example.com", True)])
def test_a_cookie_travels_in_the_clear_on_the_loopback_only(settings: Settings, host: str, secure: bool) -> None:
    listed = settings.model_copy(update={"allowed_hosts": ("mix.example.com",)})
    with TestClient(create_app(listed), base_url=f"http://{host}", follow_redirects=False) as client:
        answer = client.post("/login", data={"key": OWNER_KEY})
    assert ("Secure" in answer.headers["set-cookie"]) is secure


@pytest.mark.parametrize("key", ["", "wrong", f"{OWNER_KEY}x", "mw_x_y"])
def test_a_wrong_key_shows_the_form_again(browser: TestClient, key: str) -> None:
    answer = log_in(browser, key, next="/studies/x")
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert 'value="/studies/x"' in answer.text
    assert calls(browser) == 401


def test_a_login_ends_after_twelve_hours(browser: TestClient, clock: StandingClock) -> None:
    log_in(browser)
    clock.advance(12 * 3600 - 3)
    assert calls(browser) == 200
    browser.app.state.credentials.forget()  # type: ignore[attr-defined]
    clock.advance(3)
    assert calls(browser) == 401


def test_a_login_ends_with_its_key(browser: TestClient, api: TestClient, clock: StandingClock) -> None:
    for end in ("revoke", "expire"):
        made = make(api, "read", expires_at=(clock.now + timedelta(hours=1)).isoformat())
        log_in(browser, made["key"])
        assert calls(browser) == 200
        if end == "revoke":
            api.post(f"/v1/keys/{made['id']}/revoke")
        else:
            clock.advance(3600)
        browser.app.state.credentials.forget()  # type: ignore[attr-defined]  # another replica made the change
        assert calls(browser) == 401, end


def test_another_key_in_the_settings_ends_the_logins_of_the_one_before(
    browser: TestClient, settings: Settings, clock: StandingClock
) -> None:
    log_in(browser)
    changed = settings.model_copy(update={"api_key": SecretStr("another")})
    for key, status in ((settings, 200), (changed, 401)):
        with TestClient(create_app(key, clock), base_url=LOCAL, cookies=dict(browser.cookies)) as restarted:
            assert calls(restarted) == status


def test_logging_out_ends_the_login_on_the_server_too(browser: TestClient, database: Database) -> None:
    log_in(browser)
    kept = dict(browser.cookies)
    assert calls(browser) == 200
    answer = browser.post("/logout", headers=FROM_US)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert not browser.cookies
    browser.cookies.update(kept)
    assert calls(browser) == 401
    assert browser.post("/logout", headers=FROM_US).status_code == 303
    assert kinds(database) == ["login.created", "login.ended"]


def test_a_change_with_a_cookie_must_say_that_it_comes_from_us(browser: TestClient) -> None:
    log_in(browser)
    for origin, status in (("", 403), ("null", 403), ("http://127.0.0.1:9999", 403), (None, 403), (LOCAL, 201)):
        headers = {} if origin is None else {"Origin": origin}
        assert browser.post("/v1/studies", json=study_body(), headers=headers).status_code == status, origin
    assert browser.post("/logout").status_code == 403
    assert calls(browser) == 200


def test_a_read_key_sees_the_pages_and_is_told_what_it_may_not(browser: TestClient, api: TestClient) -> None:
    log_in(browser, make(api, "read")["key"])
    assert browser.get("/").status_code == 200
    refused = browser.post("/v1/studies", json=study_body(), headers=FROM_US)
    assert refused.status_code == 403
    assert refused.json()["detail"] == "this call needs a key with the scope 'write'; this key has read"


def test_an_agents_key_does_not_open_the_dashboard(browser: TestClient, api: TestClient) -> None:
    answer = log_in(browser, make(api, "agent")["key"])
    assert answer.status_code == 403
    assert "for agents only" in answer.text


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example.com/",
        "//evil.example.com",
        "/\\evil.example.com",
        "/\t/evil.example.com",
        "\\\\evil.example.com",
        "javascript:alert(1)",
        "/login",
        "/logout",
        "/x\r\nSet-Cookie: a=b",
        "",
    ],
)
def test_a_login_sends_nobody_elsewhere(browser: TestClient, wanted: str) -> None:
    assert log_in(browser, next=wanted).headers["location"] == "/"
    shown = browser.get("/login", params={"next": wanted}, headers={"Sec-Fetch-Site": "cross-site"}).text
    assert 'content="0; url=/"' in shown
    assert 'name="next" value="/"' in shown


def test_markup_in_the_wanted_page_is_escaped_or_dropped(browser: TestClient) -> None:
    for wanted in ('/x"><script>alert(1)</script>', "/x?a='&b=<b>"):
        assert "<script>alert" not in browser.get("/login", params={"next": wanted}).text
    assert log_in(browser, next="/studies/x?target=a%20b&c=d").headers["location"] == "/studies/x?target=a%20b&c=d"


def test_a_form_that_is_too_large_is_refused(browser: TestClient) -> None:
    assert log_in(browser, "x" * 10_000).status_code == 413


# --- links ---


def _link(settings: Settings, database: Database, clock: StandingClock) -> str:
    return urlsplit(login_link(settings, database, clock.now, LOCAL)).path


def test_a_link_is_used_by_its_button_once(
    browser: TestClient, settings: Settings, database: Database, clock: StandingClock
) -> None:
    link = _link(settings, database, clock)
    for _ in range(3):
        seen = browser.get(link)
        assert seen.status_code == 200
        assert "set-cookie" not in seen.headers
        assert f'action="{link}"' in seen.text
    used = browser.post(link, headers=FROM_US)
    assert (used.status_code, used.headers["location"]) == (303, "/")
    assert calls(browser) == 200
    browser.cookies.clear()
    again = browser.post(link, headers=FROM_US)
    assert again.status_code == 401
    assert "this link was used" in again.text
    assert calls(browser) == 401


def test_a_link_is_good_for_fifteen_minutes(
    browser: TestClient, settings: Settings, database: Database, clock: StandingClock
) -> None:
    old, young = _link(settings, database, clock), None
    clock.advance(1)
    young = _link(settings, database, clock)
    clock.advance(899)
    assert browser.post(old, headers=FROM_US).status_code == 401
    assert browser.post(young, headers=FROM_US).status_code == 303


def test_a_page_of_another_site_cannot_use_a_link(
    browser: TestClient, settings: Settings, database: Database, clock: StandingClock
) -> None:
    link = _link(settings, database, clock)
    assert browser.post(link, headers={"Origin": "http://evil.example.com"}).status_code == 403
    assert browser.post(link, headers=FROM_US).status_code == 303


def test_the_token_of_a_cookie_is_no_link_and_no_key(
    browser: TestClient, settings: Settings, database: Database, clock: StandingClock
) -> None:
    log_in(browser)
    (token,) = browser.cookies.values()
    name = next(iter(browser.cookies))
    browser.cookies.clear()
    assert browser.post(f"/login/{token}", headers=FROM_US).status_code == 401
    assert browser.get("/v1/studies", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    link = _link(settings, database, clock).rpartition("/")[2]
    assert browser.get("/v1/studies", headers={"Cookie": f"{name}={link}"}).status_code == 401


@pytest.mark.parametrize("path", ["/login/", "/login/x", "/login/link", "/login/a/b", '/login/"><b>'])
def test_a_link_that_never_was_one_is_refused(browser: TestClient, path: str) -> None:
    assert "<b>" not in browser.get(path).text
    assert browser.post(path, headers=FROM_US).status_code == 401


# --- what logs and answers show ---


def test_no_key_cookie_or_link_is_in_a_log_an_event_or_a_refusal(
    settings: Settings,
    database: Database,
    clock: StandingClock,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    from sqlalchemy import select

    from app.logs import configure_logs
    from app.models import Event

    configure_logs(settings.model_copy(update={"log_level": "debug"}))
    caplog.set_level("WARNING", "httpx2")  # the client of this test, which is not ours
    caplog.set_level("WARNING", "httpx")
    secrets, answers = {OWNER_KEY}, []
    with TestClient(create_app(settings, clock), base_url=LOCAL, follow_redirects=False) as client:
        made = make(client, "admin", headers={"Authorization": f"Bearer {OWNER_KEY}", "Idempotency-Key": "one"})
        link = _link(settings, database, clock)
        secrets |= {made["key"], made["key"][-43:], link.rpartition("/")[2]}
        for header in (bearer(made), {"Authorization": f"Bearer {made['key']}x"}, {"Authorization": made["key"]}):
            answers += [client.get(path, headers=header) for path in ("/v1/studies", "/v1/nothing", "/metrics")]
        answers += [client.get(f"{link}x"), client.post(f"{link}x", headers=FROM_US), client.put(link, headers=FROM_US)]
        answers += [client.post(link, headers={"Origin": "http://evil.example.com"}), log_in(client, f"{made['key']}x")]
        client.post(link, headers=FROM_US)
        secrets |= set(client.cookies.values())
        answers += [client.post("/v1/studies", json={"name": made["key"]}), client.get("/v1/studies/x")]
        log_in(client, made["key"])
        secrets |= set(client.cookies.values())
        client.post("/logout", headers=FROM_US)
    captured = capfd.readouterr()
    with database.read() as session:
        events = " ".join(str(vars(event)) for event in session.scalars(select(Event)))
    assert "/login/link" in captured.err
    assert "login.created" in events
    assert len(secrets) == 6
    for secret in secrets:
        assert secret not in captured.err + captured.out
        assert secret not in events
        refusals = [answer.text for answer in answers if answer.request.url.path != f"{link}x"]
        assert secret not in " ".join(refusals)
