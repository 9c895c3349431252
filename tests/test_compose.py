"""docker-compose.yml agrees with the images and the code, and gives nobody more than he needs.

No container engine is needed: the file is read, and what its services say is done here.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient
from pydantic import SecretStr

from app.cli import run
from app.main import create_app
from app.migrate import upgrade
from app.settings import ENV_PREFIX, Settings
from proxy_training.agent_key import find_key
from proxy_training.schedulers.base import DRAIN_SECONDS
from tests.images import Stages, parse_command, read_stages, variables_read

SECRETS = ("POSTGRES_PASSWORD", "MIXWRIGHT_API_KEY")
OWNER = "a-long-random-text"


@pytest.fixture(scope="module")
def services(checkout: Path) -> dict[str, Any]:
    return yaml.safe_load((checkout / "docker-compose.yml").read_text(encoding="utf-8"))["services"]


@pytest.fixture(scope="module")
def ours(services: dict[str, Any]) -> dict[str, Any]:
    """The services that run an image of this project."""
    return {name: service for name, service in services.items() if "build" in service}


@pytest.fixture(scope="module")
def stages(checkout: Path) -> Stages:
    return read_stages(checkout)


def command_of(service: dict[str, Any], stages: Stages) -> list[str]:
    """What the container runs: its own command, else that of its image."""
    return service.get("command") or json.loads(dict(stages[service["build"]["target"]])["CMD"])


def mounts_of(service: dict[str, Any]) -> dict[str, str]:
    """{place in the container: volume or folder}"""
    return {text.rsplit(":", 2 if text.endswith(":ro") else 1)[1]: text for text in service.get("volumes", ())}


def test_services_are_built_of_targets_that_the_dockerfile_has(ours: dict[str, Any], stages: Stages) -> None:
    targets = {name: service["build"]["target"] for name, service in ours.items()}
    assert targets == {"api": "api", "agent-key": "api", "agent": "agent"}
    assert set(targets.values()) <= set(stages)


def test_every_command_is_one_that_the_command_line_accepts(ours: dict[str, Any], stages: Stages) -> None:
    for name, service in ours.items():
        words = command_of(service, stages)
        assert isinstance(words, list), f"{name}: a text would be run by a shell, which passes no signal on"
        parse_command(words)


def test_every_variable_is_one_that_the_code_of_its_image_reads(checkout: Path, ours: dict[str, Any]) -> None:
    for name, service in ours.items():
        given = set(service["environment"])
        assert given, name
        assert all(variable.startswith(ENV_PREFIX) for variable in given), name
        assert given <= variables_read(checkout, service["build"]["target"]), name


def test_the_service_accepts_its_settings(services: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in services["api"]["environment"].items():
        monkeypatch.setenv(name, re.sub(r"\$\{[^}]*\}", "secret", str(value)))
    settings = Settings()
    assert settings.resolved_database_url == "postgresql+psycopg://mixwright:secret@postgres:5432/mixwright"
    assert (settings.host, settings.port) == ("0.0.0.0", 8321)
    assert settings.api_key is not None


def test_no_secret_has_a_default(checkout: Path) -> None:
    text = (checkout / "docker-compose.yml").read_text(encoding="utf-8")
    for secret in SECRETS:
        uses = re.findall(r"\$\{?" + secret + r"([^}]*)\}?", text)
        assert uses
        assert all(use.startswith(":?") for use in uses), f"{secret} must be demanded with ${{{secret}:?...}}"


def test_agents_get_none_of_the_secrets(ours: dict[str, Any]) -> None:
    agents = {name: service for name, service in ours.items() if service["build"]["target"] == "agent"}
    assert agents
    for name, service in agents.items():
        assert not [secret for secret in SECRETS if secret in json.dumps(service)], name
        assert "MIXWRIGHT_API_KEY" not in service["environment"], name


def test_the_key_that_agents_read_may_do_their_work_and_nothing_else(
    ours: dict[str, Any], stages: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the service agent-key runs is run here, twice, with SQLite in place of PostgreSQL."""
    agent, maker = ours["agent"], ours["agent-key"]
    file = agent["environment"]["MIXWRIGHT_KEY_FILE"]
    folder = str(Path(file).parent)
    assert mounts_of(agent)[folder].split(":")[0] == mounts_of(maker)[folder].split(":")[0]
    assert mounts_of(agent)[folder].endswith(":ro")
    for target in ("api", "agent"):  # a new volume belongs to whom the folder of the image belongs to
        made = [rest for instruction, rest in stages[target] if instruction == "RUN" and "install --directory" in rest]
        assert folder in made[0].split("--owner=mixwright", 1)[1].split()

    settings = Settings(data_dir=tmp_path, api_key=SecretStr(OWNER))
    upgrade(settings)
    monkeypatch.setenv("MIXWRIGHT_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("MIXWRIGHT_API_KEY", raising=False)
    here = tmp_path / Path(file).name
    words = [str(here) if word == file else word for word in command_of(maker, stages)]
    assert words[0] == "mixwright"
    assert run(words[1:]) == 0
    key = here.read_text()
    assert run(words[1:]) == 0  # the next "up"
    assert here.read_text() == key

    monkeypatch.setenv("MIXWRIGHT_KEY_FILE", str(here))
    headers = {"Authorization": f"Bearer {find_key(None)}"}
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8321", headers=headers) as client:
        registered = {"name": "agent-1", "hostname": "here", "device": "cpu"}
        assert client.post("/v1/agents", json=registered).status_code == 201
        assert client.get("/v1/studies").status_code == 403
        assert client.get("/v1/keys").status_code == 403
        listed = client.get("/v1/keys", headers={"Authorization": f"Bearer {OWNER}"}).json()["items"]
    assert [each["scopes"] for each in listed] == [["agent"]]


def test_every_service_waits_for_what_it_needs_and_is_watched(services: dict[str, Any]) -> None:
    ends_by_itself = {
        needed
        for service in services.values()
        for needed, how in service.get("depends_on", {}).items()
        if how == {"condition": "service_completed_successfully"}
    }
    assert ends_by_itself == {"agent-key"}
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            done = "service_completed_successfully" if needed in ends_by_itself else "service_healthy"
            assert how == {"condition": done}, name
        if name in ends_by_itself:
            assert "restart" not in service  # it would be started again and again
        else:
            assert service["healthcheck"]["test"], name
            assert service["restart"] == "unless-stopped"
    assert services["agent-key"]["depends_on"] == {"api": {"condition": "service_healthy"}}


def test_an_agent_has_the_time_to_drain(services: dict[str, Any]) -> None:
    assert services["agent"]["stop_grace_period"] == f"{DRAIN_SECONDS}s"


@pytest.mark.parametrize("name", ["api", "agent"])
def test_the_health_check_of_a_service_is_answered_without_a_key(
    services: dict[str, Any], name: str, tmp_path: Path
) -> None:
    """By the API as compose sets it up, with SQLite in place of PostgreSQL."""
    asked = re.search(r"(http://[^/]+)(/\w+)", " ".join(services[name]["healthcheck"]["test"]))
    assert asked is not None
    settings = Settings(data_dir=tmp_path, host="0.0.0.0", api_key=SecretStr("secret"))
    upgrade(settings)
    with TestClient(create_app(settings), base_url=asked.group(1)) as client:
        assert client.get(asked.group(2)).status_code == 200
        assert client.get("/v1/studies").status_code == 401
