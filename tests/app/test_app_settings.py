"""Settings: one class, read from the environment, wrong ones named."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.errors import RefusedToStart
from app.settings import read_settings


def test_the_embedded_default_is_a_file_on_the_loopback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = read_settings()
    assert settings.on_loopback
    assert settings.api_key is None
    assert settings.resolved_database_url == f"sqlite:///{tmp_path}/.mixwright/mixwright.sqlite3"


def test_options_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIXWRIGHT_PORT", "9000")
    monkeypatch.setenv("MIXWRIGHT_ALLOWED_HOSTS", "a.example.com, b.example.com")
    settings = read_settings(host=None)
    assert (settings.port, settings.host) == (9000, "127.0.0.1")
    assert settings.allowed_hosts == ("a.example.com", "b.example.com")
    assert read_settings(port=9001).port == 9001


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("PORT", "many", "valid integer"),
        ("PORT", "70000", "less than or equal to 65535"),
        ("WORKERS", "-1", "greater than or equal to 0"),
        ("LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("DATABASE_URL", "mysql://x", "must start with postgresql:// or sqlite:///"),
    ],
)
def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, why: str) -> None:
    monkeypatch.setenv(f"MIXWRIGHT_{name}", value)
    with pytest.raises(RefusedToStart) as refused:
        read_settings()
    assert f"(MIXWRIGHT_{name}) is wrong" in refused.value.detail
    assert why in refused.value.detail


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_any_postgresql_url_gets_the_driver_that_we_install(scheme: str) -> None:
    url = read_settings(database_url=f"{scheme}://u@h/d").resolved_database_url
    assert url == "postgresql+psycopg://u@h/d"
