"""``mixwright keys`` and ``login-link``: on the database itself, for the first key and for who is locked out."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from app.cli import run
from app.local_key import ADMIN_KEY_FILE, local_key
from app.main import create_app
from app.settings import Settings
from tests.app.conftest import LOCAL


@pytest.fixture
def locked_out(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings as the environment gives them to a command; nobody has a key."""
    keyless = settings.model_copy(update={"api_key": None})
    monkeypatch.setenv("MIXWRIGHT_DATABASE_URL", keyless.resolved_database_url)
    monkeypatch.setenv("MIXWRIGHT_DATA_DIR", str(keyless.data_dir))
    return keyless


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    code = run(arguments)
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return captured.out.strip()


def status(settings: Settings, key: str) -> int:
    with TestClient(create_app(settings), base_url=LOCAL) as api:
        return api.get("/v1/keys", headers={"Authorization": f"Bearer {key}"}).status_code


def test_a_key_is_made_listed_and_revoked_without_a_service(
    locked_out: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    key = said(capsys, "keys", "create", "ops" * 60, "--scope", "admin", "--scope", "read", "--expires-days", "2")
    assert status(locked_out, key) == 200
    listed = said(capsys, "keys", "list")
    assert "ops" in listed
    assert key[-43:] not in listed
    key_id = key.split("_")[1]
    assert str(UUID(key_id)) in listed  # whole, however long the name is
    assert "is revoked" in said(capsys, "keys", "revoke", key_id)
    assert status(locked_out, key) == 401
    assert "revoked" in said(capsys, "keys", "list")


def test_a_key_in_a_file_is_kept_while_it_works_and_replaced_when_it_does_not(
    locked_out: Settings, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "agent.key"
    wanted = ("keys", "create", "agents", "--out", str(file), "--scope", "agent")
    assert said(capsys, *wanted) == f"The key is in {file}."
    first = file.read_text().strip()
    assert (status(locked_out, first), file.stat().st_mode & 0o777) == (403, 0o600)  # known, and not an admin's
    assert said(capsys, *wanted).endswith(f"{file} holds such a key already.")
    assert file.read_text().strip() == first
    said(capsys, *wanted, "--scope", "read")  # a key of other scopes is not what is asked for
    assert file.read_text().strip() != first
    said(capsys, *wanted)
    second = file.read_text().strip()
    said(capsys, "keys", "revoke", second.split("_")[1])
    said(capsys, *wanted)
    assert (status(locked_out, second), status(locked_out, file.read_text().strip())) == (401, 403)


def test_a_key_that_cannot_be_written_is_not_left_behind(
    locked_out: Settings, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said(capsys, "keys", "list")  # brings the database up
    assert run(["keys", "create", "agents", "--scope", "agent", "--out", str(tmp_path / "no" / "agent.key")]) == 1
    assert "agent.key" in capsys.readouterr().err
    assert "usable" not in said(capsys, "keys", "list")


def test_a_link_is_for_an_admin_and_for_the_address_of_the_running_service(
    locked_out: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "keys", "create", "looker", "--scope", "read")
    assert run(["login-link"]) == 1
    assert "mixwright keys create NAME --scope admin" in capsys.readouterr().err
    said(capsys, "keys", "create", "ops", "--scope", "admin")
    assert said(capsys, "login-link").startswith("http://127.0.0.1:8321/login/")
    (locked_out.data_dir / "service.url").write_text("http://127.0.0.1:4711\n")
    link = said(capsys, "login-link")
    assert link.startswith("http://127.0.0.1:4711/login/")
    with TestClient(create_app(locked_out), base_url=LOCAL, follow_redirects=False) as browser:
        assert browser.post(urlsplit(link).path).status_code == 303
        assert browser.get("/v1/keys").status_code == 200


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("ops", "--scope", "root"), "'root' is not one; accepted: read, write, agent or admin"),
        (("", "--scope", "read"), "has 0 characters; accepted: 1 to 200"),
        (("ops", "--scope", "read", "--study", "01a1ff55-7f19-77a3-a346-a8642f917ce4"), "there is no study 01a1ff55"),
        (("ops",), "Missing option '--scope'"),
    ],
)
def test_a_wrong_wish_is_refused_in_one_sentence(
    locked_out: Settings, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], why: str
) -> None:
    assert run(["keys", "create", *arguments]) != 0
    refused = capsys.readouterr()
    assert why in refused.err
    assert (refused.out, refused.err.count("\n")) == ("", 1)


def test_the_local_key_is_what_the_file_holds(settings: Settings) -> None:
    assert local_key(settings.data_dir) is None
    (settings.data_dir / ADMIN_KEY_FILE).write_text("mw_key\n")
    assert local_key(str(settings.data_dir)) == "mw_key"
