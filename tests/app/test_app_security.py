"""Who gets in, from where, and with which headers."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.errors import RefusedToStart
from app.loopback import is_loopback
from app.main import create_app
from app.migrate import upgrade
from app.security import check_exposure
from app.settings import Settings
from tests.app.study_bodies import study_body

KEY = "correct-horse-battery-staple"


def _client(tmp_path: Path, base_url: str = "http://127.0.0.1:8321", **changes: object) -> TestClient:
    settings = Settings(data_dir=tmp_path, **changes)  # type: ignore[arg-type]
    upgrade(settings)
    return TestClient(create_app(settings), base_url=base_url, raise_server_exceptions=False)


def test_binding_off_the_loopback_without_a_key_refuses_to_start(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::", "192.168.0.7", "mixwright.example.com"):
        with pytest.raises(RefusedToStart, match="MIXWRIGHT_API_KEY must be set"):
            create_app(Settings(data_dir=tmp_path, host=host))
    check_exposure(Settings(host="0.0.0.0", api_key=KEY))  # type: ignore[arg-type]


def test_an_empty_key_is_no_key() -> None:
    with pytest.raises(RefusedToStart):
        check_exposure(Settings(host="0.0.0.0", api_key="  "))  # type: ignore[arg-type]


def test_names_that_others_can_reach_need_a_key() -> None:
    with pytest.raises(RefusedToStart, match=r"MIXWRIGHT_ALLOWED_HOSTS names mix\.example\.com"):
        check_exposure(Settings(allowed_hosts=("localhost", "mix.example.com")))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "LOCALHOST.", "::1", "[::1]"])
def test_loopback_hosts_are_known(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1.evil.com", "localhost.evil.com", "", "10.0.0.1", "2130706433"])
def test_other_hosts_are_not_loopback(host: str) -> None:
    assert not is_loopback(host)


def test_a_rebound_name_is_refused_without_a_key(tmp_path: Path) -> None:
    api = _client(tmp_path)
    for host in ("evil.example.com", "evil.example.com:8321", "127.0.0.1.evil.com", ""):
        response = api.get("/v1/studies", headers={"Host": host})
        assert response.status_code == 421, host
        assert response.headers["content-type"] == "application/problem+json"
    for host in ("localhost:8321", "127.0.0.1", "[::1]:8321"):
        assert api.get("/v1/studies", headers={"Host": host}).status_code == 200, host


def test_a_page_of_another_site_cannot_post(tmp_path: Path) -> None:
    api = _client(tmp_path)
    for origin in ("http://evil.example.com", "null", "http://127.0.0.1:9999"):
        response = api.post("/v1/studies", json=study_body(), headers={"Origin": origin})
        assert response.status_code == 403, origin
    same = api.post("/v1/studies", json=study_body(), headers={"Origin": "http://127.0.0.1:8321"})
    assert same.status_code == 201


def test_a_form_of_another_site_cannot_pass_for_json(tmp_path: Path) -> None:
    api = _client(tmp_path)
    body = b'{"name": "a"}'
    response = api.post("/v1/agents", content=body, headers={"Content-Type": "text/plain"})
    assert response.status_code == 422


def test_without_a_key_another_server_cannot_expose_the_app(tmp_path: Path) -> None:
    """The app itself sees the address that it was reached by, whatever server runs it."""
    api = _client(tmp_path, base_url="http://192.168.0.7:8321")
    assert api.get("/v1/studies", headers={"Host": "localhost"}).status_code == 401


def test_with_a_key_every_call_needs_it(tmp_path: Path) -> None:
    api = _client(tmp_path, api_key=KEY)
    paths = api.get("/v1/openapi.json", headers={"Authorization": f"Bearer {KEY}"}).json()["paths"]
    calls = [(method, path) for path, methods in paths.items() for method in methods if path.startswith("/v1")]
    assert len(calls) > 25
    for method, path in calls:
        response = api.request(method, path.replace("{", "").replace("}", ""))
        assert response.status_code == 401, path
        assert response.headers["www-authenticate"] == "Bearer"
    assert api.get("/v1/openapi.json").status_code == 401
    assert api.get("/v1/nothing").status_code == 401
    assert api.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "header", ["Bearer wrong", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", f"Basic {KEY}", KEY, "Bearer", "Bearer é"]
)
def test_a_wrong_key_is_refused(tmp_path: Path, header: str) -> None:
    api = _client(tmp_path, api_key=KEY)
    assert api.get("/v1/studies", headers={"Authorization": header.encode()}).status_code == 401


def test_the_right_key_opens(tmp_path: Path) -> None:
    api = _client(tmp_path, api_key=KEY)
    assert api.get("/v1/studies", headers={"Authorization": f"bearer {KEY}"}).status_code == 200


def test_off_the_loopback_any_host_name_will_do_unless_some_are_listed(tmp_path: Path) -> None:
    headers = {"Authorization": f"Bearer {KEY}", "Host": "mix.example.com:80"}
    assert _client(tmp_path, host="0.0.0.0", api_key=KEY).get("/v1/studies", headers=headers).status_code == 200
    listed = _client(tmp_path, host="0.0.0.0", api_key=KEY, allowed_hosts=("mix.example.com",))
    assert listed.get("/v1/studies", headers=headers).status_code == 200
    assert listed.get("/v1/studies", headers=headers | {"Host": "other.example.com"}).status_code == 421


def test_the_key_is_never_shown_or_logged(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from app.logs import configure_logs

    settings = Settings(data_dir=tmp_path, api_key=KEY, log_level="debug")  # type: ignore[arg-type]
    assert KEY not in repr(settings)
    assert KEY not in str(settings.model_dump())
    configure_logs(settings)
    api = _client(tmp_path, api_key=KEY)
    api.get("/v1/studies", headers={"Authorization": f"Bearer {KEY}"})
    api.get("/v1/studies", headers={"Authorization": f"Bearer {KEY}x"})
    logged = capfd.readouterr().err
    assert "/v1/studies" in logged
    assert KEY not in logged


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
