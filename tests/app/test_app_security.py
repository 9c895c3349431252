"""Who gets in, from where, and with which headers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.db import Database
from app.errors import RefusedToStart
from app.loopback import is_loopback
from app.main import create_app
from app.migrate import upgrade
from app.principal import Scope
from app.schemas.keys import KeyCreate
from app.security import check_exposure
from app.services.keys import create_key
from app.settings import Settings
from tests.app.study_bodies import study_body

KEY = "correct-horse-battery-staple"
OURS = {"Authorization": f"Bearer {KEY}"}
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _client(tmp_path: Path, base_url: str = "http://127.0.0.1:8321", **changes: object) -> TestClient:
    settings = Settings(**{"data_dir": tmp_path, "api_key": KEY, **changes})  # type: ignore[arg-type]
    upgrade(settings)
    return TestClient(create_app(settings), base_url=base_url, raise_server_exceptions=False, follow_redirects=False)


def test_binding_off_the_loopback_without_any_key_refuses_to_start(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::", "192.168.0.7", "mixwright.example.com"):
        with pytest.raises(RefusedToStart, match="mixwright keys create NAME --scope admin"):
            check_exposure(Settings(data_dir=tmp_path, host=host), NOW)
    assert list(tmp_path.iterdir()) == []
    check_exposure(Settings(data_dir=tmp_path, host="0.0.0.0", api_key=KEY), NOW)  # type: ignore[arg-type]


def test_an_empty_key_is_no_key(tmp_path: Path) -> None:
    with pytest.raises(RefusedToStart):
        check_exposure(Settings(data_dir=tmp_path, host="0.0.0.0", api_key="  "), NOW)  # type: ignore[arg-type]


def test_a_usable_admin_key_in_the_database_is_enough_off_the_loopback(settings: Settings, database: Database) -> None:
    exposed = settings.model_copy(update={"host": "0.0.0.0", "api_key": None})
    with database.write() as session:
        create_key(session, KeyCreate(name="for looking", scopes=[Scope.READ]), NOW)
    with pytest.raises(RefusedToStart):
        check_exposure(exposed, NOW)
    with database.write() as session:
        soon = NOW + timedelta(hours=1)
        create_key(session, KeyCreate(name="a", scopes=[Scope.ADMIN], expires_at=soon), NOW)
    check_exposure(exposed, NOW)
    with pytest.raises(RefusedToStart):
        check_exposure(exposed, soon)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "LOCALHOST.", "::1", "[::1]"])
def test_loopback_hosts_are_known(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1.evil.com", "localhost.evil.com", "", "10.0.0.1", "2130706433"])
def test_other_hosts_are_not_loopback(host: str) -> None:
    assert not is_loopback(host)


def test_a_rebound_name_is_refused(tmp_path: Path) -> None:
    api = _client(tmp_path)
    for host in ("evil.example.com", "evil.example.com:8321", "127.0.0.1.evil.com", ""):
        response = api.get("/v1/studies", headers=OURS | {"Host": host})
        assert response.status_code == 421, host
        assert response.headers["content-type"] == "application/problem+json"
    for host in ("localhost:8321", "127.0.0.1", "[::1]:8321"):
        assert api.get("/v1/studies", headers=OURS | {"Host": host}).status_code == 200, host


def test_a_page_of_another_site_cannot_post(tmp_path: Path) -> None:
    api = _client(tmp_path)
    for origin in ("http://evil.example.com", "null", "http://127.0.0.1:9999", "http://[", ""):
        response = api.post("/v1/studies", json=study_body(), headers=OURS | {"Origin": origin})
        assert response.status_code == 403, origin
    same = api.post("/v1/studies", json=study_body(), headers=OURS | {"Origin": "http://127.0.0.1:8321"})
    assert same.status_code == 201


def test_a_form_of_another_site_cannot_pass_for_json(tmp_path: Path) -> None:
    api = _client(tmp_path)
    body = b'{"name": "a"}'
    response = api.post("/v1/agents", content=body, headers=OURS | {"Content-Type": "text/plain"})
    assert response.status_code == 422


def test_every_call_needs_a_key_on_the_loopback_too(tmp_path: Path) -> None:
    api = _client(tmp_path)
    paths = api.get("/v1/openapi.json", headers=OURS).json()["paths"]
    calls = [(method, path) for path, methods in paths.items() for method in methods if path.startswith("/v1")]
    assert len(calls) > 25
    for method, path in calls:
        response = api.request(method, path.replace("{", "").replace("}", ""))
        assert response.status_code == 401, path
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.headers["content-type"] == "application/problem+json"


def test_open_to_all_are_health_files_and_the_login_and_nothing_else(tmp_path: Path) -> None:
    api = _client(tmp_path)
    for path in ("/healthz", "/readyz", "/static/style.css", "/login", "/login/x"):
        assert api.get(path).status_code == 200, path
    for path in (
        "/",
        "/studies/x",
        "/metrics",
        "/nothing",
        "/v1",
        "/v1/openapi.json",
        "/v1/nothing",
        "/healthz/",
        "//",
    ):
        assert api.get(path).status_code == 401, path
    with_a_page = {"Accept": "text/html"}
    assert (
        api.get("/studies/x?a=1&b=2", headers=with_a_page).headers["location"]
        == "/login?next=/studies/x%3Fa%3D1%26b%3D2"
    )
    assert api.get("/v1/studies", headers=with_a_page).status_code == 401
    assert api.post("/studies/x", headers=with_a_page).status_code == 401


@pytest.mark.parametrize(
    "header", ["Bearer wrong", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", f"Basic {KEY}", KEY, "Bearer", "Bearer é"]
)
def test_a_wrong_key_is_refused(tmp_path: Path, header: str) -> None:
    api = _client(tmp_path, api_key=KEY)
    response = api.get("/v1/studies", headers={"Authorization": header.encode()})
    assert response.status_code == 401
    assert KEY not in response.text


def test_the_right_key_opens(tmp_path: Path) -> None:
    api = _client(tmp_path)
    assert api.get("/v1/studies", headers={"Authorization": f"bearer {KEY}"}).status_code == 200


def test_a_key_of_the_settings_may_hold_any_letters(tmp_path: Path) -> None:
    api = _client(tmp_path, api_key="schlüssel")
    assert api.get("/v1/studies", headers={"Authorization": "Bearer schlüssel".encode()}).status_code == 200


def test_off_the_loopback_any_host_name_will_do_unless_some_are_listed(tmp_path: Path) -> None:
    headers = {"Authorization": f"Bearer {KEY}", "Host": "mix.example.com:80"}
    assert _client(tmp_path, host="0.0.0.0", api_key=KEY).get("/v1/studies", headers=headers).status_code == 200
    listed = _client(tmp_path, host="0.0.0.0", api_key=KEY, allowed_hosts=("mix.example.com",))
    assert listed.get("/v1/studies", headers=headers).status_code == 200
    assert listed.get("/v1/studies", headers=headers | {"Host": "other.example.com"}).status_code == 421


def test_the_key_is_never_shown(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, api_key=KEY)  # type: ignore[arg-type]
    assert KEY not in repr(settings)
    assert KEY not in str(settings.model_dump())


@pytest.mark.parametrize("path", ["/healthz", "/v1/studies", "/nothing", "/v1/runs/x"])
def test_every_answer_carries_strict_headers(tmp_path: Path, path: str) -> None:
    response = _client(tmp_path).get(path)
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-eval" not in policy
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers.get("cache-control") == ("no-store" if path.startswith("/v1") else None)
    assert response.headers["x-request-id"]
