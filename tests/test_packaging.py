"""The files that install and deploy Mixwright agree with it. No container engine is needed: they are read as text.

Every command line, target, setting and extra that they name must be one that exists.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from fastapi.testclient import TestClient
from pydantic import SecretStr

from app.cli import build_app
from app.main import create_app
from app.migrate import upgrade
from app.settings import ENV_PREFIX, Settings
from migrations.check import main as check_migrations

SECRETS = ("POSTGRES_PASSWORD", "MIXWRIGHT_API_KEY")


@pytest.fixture(scope="module")
def project(checkout: Path) -> dict[str, Any]:
    return tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def services(checkout: Path) -> dict[str, Any]:
    return yaml.safe_load((checkout / "docker-compose.yml").read_text(encoding="utf-8"))["services"]


@pytest.fixture(scope="module")
def stages(checkout: Path) -> dict[str, list[tuple[str, str]]]:
    """(instruction, rest) of every line of the Dockerfile, by build stage, inherited ones first."""
    text = re.sub(r"\\\n\s*", " ", (checkout / "Dockerfile").read_text(encoding="utf-8"))
    found: dict[str, list[tuple[str, str]]] = {}
    stage = ""
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        instruction, _, rest = line.strip().partition(" ")
        if instruction == "FROM":
            base, stage = re.fullmatch(r"(\S+) AS (\S+)", rest).groups()  # type: ignore[union-attr]
            found[stage] = list(found.get(base, []))
        elif stage:
            found[stage].append((instruction, rest.strip()))
    return found


def distributions(project: dict[str, Any], *extras: str) -> set[str]:
    """Names of the packages that an installation with these extras asks for."""
    lists = [project["project"]["dependencies"], *(project["project"]["optional-dependencies"][e] for e in extras)]
    return {re.split(r"[\[<>=!~ ;]", requirement)[0].lower() for requirements in lists for requirement in requirements}


def command_parameters(command: str) -> set[str]:
    """The long options of one ``mixwright`` command."""
    group = typer.main.get_command(build_app())
    commands = group.commands  # type: ignore[attr-defined]
    assert command in commands, f"there is no command {command!r}"
    return {option for parameter in commands[command].params for option in parameter.opts}


# --- pyproject.toml ------------------------------------------------------------------------------------------------


def test_the_service_installs_without_torch_and_the_agent_without_a_database(project: dict[str, Any]) -> None:
    assert not {"torch", "ray"} & distributions(project, "service", "postgres")
    assert {"fastapi", "sqlalchemy", "psycopg"} <= distributions(project, "service", "postgres")
    assert not {"sqlalchemy", "alembic", "psycopg", "fastapi"} & distributions(project, "agent")
    assert "torch" in distributions(project, "agent")


def test_the_base_carries_neither_a_web_framework_nor_a_database(project: dict[str, Any]) -> None:
    assert not {"torch", "fastapi", "uvicorn", "sqlalchemy", "alembic"} & distributions(project)


def test_setup_installs_extras_that_exist(checkout: Path, project: dict[str, Any]) -> None:
    found = re.search(r'^extras="(.+)"$', (checkout / ".ci" / "setup").read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    assert set(found.group(1).split(",")) <= set(project["project"]["optional-dependencies"])


# --- Dockerfile ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stage", "extras"), [("api", {"service", "postgres"}), ("agent", {"agent"})])
def test_each_image_installs_just_its_extras(
    stages: dict[str, list[tuple[str, str]]], project: dict[str, Any], stage: str, extras: set[str]
) -> None:
    installs = [rest for instruction, rest in stages[stage] if instruction == "RUN" and "pip install" in rest]
    named = re.search(r'"\.\[([a-z,]+)\]"', " ".join(installs))
    assert named is not None
    assert set(named.group(1).split(",")) == extras <= set(project["project"]["optional-dependencies"])


@pytest.mark.parametrize("stage", ["api", "agent"])
def test_each_image_runs_an_existing_command_without_root_and_is_watched(
    stages: dict[str, list[tuple[str, str]]], stage: str
) -> None:
    last = dict(stages[stage])  # the last of each instruction is the one that counts
    assert last["USER"] not in ("root", "0")
    program, command, *arguments = json.loads(last["CMD"])
    assert program == "mixwright"
    assert {argument for argument in arguments if argument.startswith("--")} <= command_parameters(command)
    assert "HEALTHCHECK" in last


@pytest.mark.parametrize("stage", ["api", "agent"])
def test_python_of_the_health_checks_compiles(stages: dict[str, list[tuple[str, str]]], stage: str) -> None:
    check = dict(stages[stage])["HEALTHCHECK"]
    program, flag, source = json.loads(check[check.index("CMD ") + 4 :])
    assert (program, flag) == ("python", "-c")
    compile(source, "healthcheck", "exec")


def test_the_api_image_sets_settings_that_exist(stages: dict[str, list[tuple[str, str]]]) -> None:
    set_here = [
        name
        for instruction, rest in stages["api"]
        if instruction == "ENV"
        for name in (pair.partition("=")[0] for pair in shlex.split(rest))
    ]
    ours = [name.removeprefix(ENV_PREFIX).lower() for name in set_here if name.startswith(ENV_PREFIX)]
    assert ours
    assert set(ours) <= set(Settings.model_fields)


def test_everything_that_the_images_copy_exists_and_reaches_them(
    checkout: Path, stages: dict[str, list[tuple[str, str]]]
) -> None:
    let_in = {
        line[1:] for line in (checkout / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"
    }
    copied = {source for instruction, rest in stages["api"] if instruction == "COPY" for source in rest.split()[:-1]}
    assert all((checkout / source).exists() for source in copied)
    assert copied == let_in


# --- docker-compose.yml --------------------------------------------------------------------------------------------


def test_compose_builds_targets_that_the_dockerfile_has(
    services: dict[str, Any], stages: dict[str, list[tuple[str, str]]]
) -> None:
    targets = {name: service["build"]["target"] for name, service in services.items() if "build" in service}
    assert targets == {"api": "api", "agent": "agent"}
    assert set(targets.values()) <= set(stages)


def test_compose_sets_settings_that_exist_and_that_the_service_accepts(
    services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in services["api"]["environment"].items():
        assert name.startswith(ENV_PREFIX)
        monkeypatch.setenv(name, re.sub(r"\$\{[^}]*\}", "secret", str(value)))
    settings = Settings()
    assert settings.resolved_database_url == "postgresql+psycopg://mixwright:secret@postgres:5432/mixwright"
    assert (settings.host, settings.port) == ("0.0.0.0", 8321)
    assert settings.api_key is not None


def test_no_secret_of_compose_has_a_default(checkout: Path) -> None:
    text = (checkout / "docker-compose.yml").read_text(encoding="utf-8")
    for secret in SECRETS:
        uses = re.findall(r"\$\{?" + secret + r"([^}]*)\}?", text)
        assert uses
        assert all(use.startswith(":?") for use in uses), f"{secret} must be demanded with ${{{secret}:?...}}"


def test_every_service_is_watched_and_waits_for_healthy_ones(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["healthcheck"]["test"], name
        for needed, how in service.get("depends_on", {}).items():
            assert needed in services
            assert how == {"condition": "service_healthy"}


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


# --- make and the continuous checks --------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["setup", "test", "demo", "lint", "serve"])
def test_make_knows_its_targets(checkout: Path, target: str) -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    done = subprocess.run(
        ["make", "--dry-run", target], cwd=checkout, capture_output=True, text=True, env={"PATH": os.environ["PATH"]}
    )
    assert done.returncode == 0, done.stderr
    assert ".ci/setup" in done.stdout


@pytest.mark.parametrize("script", ["run", "setup"])
def test_the_scripts_are_valid_shell(checkout: Path, script: str) -> None:
    shell = "bash" if script == "run" else "sh"
    done = subprocess.run([shell, "-n", str(checkout / ".ci" / script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_setup_says_in_one_sentence_that_there_is_no_python(checkout: Path, tmp_path: Path) -> None:
    """In a folder of its own, with a PATH on which no Python is usable."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "cat", "cmp", "grep", "dirname"):
        (tools / tool).symlink_to(str(shutil.which(tool)))
    broken = tools / "python3"
    broken.write_text("#!/bin/sh\nexit 127\n")
    broken.chmod(0o755)
    clone = tmp_path / "clone"
    (clone / ".ci").mkdir(parents=True)
    shutil.copy(checkout / ".ci" / "setup", clone / ".ci")
    shutil.copy(checkout / "pyproject.toml", clone)
    done = subprocess.run(
        [str(tools / "sh"), ".ci/setup"], cwd=clone, capture_output=True, text=True, env={"PATH": str(tools)}
    )
    assert done.returncode == 1
    assert re.fullmatch(r"setup: no Python 3\.11 or newer .* was found .*PYTHON=.*\n", done.stderr)
    assert not (clone / ".venv").exists()


def test_models_and_migrations_agree() -> None:
    assert check_migrations() == 0
