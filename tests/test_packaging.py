"""The files that install Mixwright agree with it. No container engine is needed: they are read as text.

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

from app.settings import ENV_PREFIX
from migrations.check import main as check_migrations
from tests.images import Stages, parse_command, read_stages, variables_read


@pytest.fixture(scope="module")
def project(checkout: Path) -> dict[str, Any]:
    return tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def stages(checkout: Path) -> Stages:
    return read_stages(checkout)


def distributions(project: dict[str, Any], *extras: str) -> set[str]:
    """Names of the packages that an installation with these extras asks for."""
    lists = [project["project"]["dependencies"], *(project["project"]["optional-dependencies"][e] for e in extras)]
    return {re.split(r"[\[<>=!~ ;]", requirement)[0].lower() for requirements in lists for requirement in requirements}


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


@pytest.mark.parametrize(
    ("stage", "chosen", "extras"),
    [
        ("api", {}, {"service", "postgres"}),
        ("agent", {}, {"agent"}),
        ("agent", {"AGENT_EXTRAS": "agent,ray"}, {"agent", "ray"}),
    ],
)
def test_each_image_installs_just_its_extras(
    stages: Stages, project: dict[str, Any], stage: str, chosen: dict[str, str], extras: set[str]
) -> None:
    """By the defaults of its arguments, and by those that its first lines and the README choose."""
    defaults = dict(rest.split("=", 1) for instruction, rest in stages[stage] if instruction == "ARG")
    assert chosen.keys() <= defaults.keys()
    installs = [rest for instruction, rest in stages[stage] if instruction == "RUN" and "pip install" in rest]
    text = re.sub(r"\$\{(\w+)\}", lambda found: (defaults | chosen)[found[1]], installs[0])
    named = re.search(r'"\.\[([a-z,]+)\]"', text)
    assert named is not None
    assert set(named.group(1).split(",")) == extras <= set(project["project"]["optional-dependencies"])


@pytest.mark.parametrize("stage", ["api", "agent"])
def test_a_change_of_code_does_not_install_the_dependencies_again(stages: Stages, stage: str) -> None:
    """They are installed before any code is there; the code comes as a wheel of its own, without them."""
    dependencies, code = [
        i for i, (instruction, rest) in enumerate(stages[stage]) if instruction == "RUN" and "pip install" in rest
    ]
    copied = [rest.split()[:-1] for instruction, rest in stages[stage][:code] if instruction == "COPY"]
    assert copied == [["pyproject.toml"]]
    assert dependencies < code
    assert {"--no-deps", "--force-reinstall", "/wheel/*.whl"} <= set(stages[stage][code][1].split())
    assert any("--wheel-dir /wheel " in rest for instruction, rest in stages["wheel"] if instruction == "RUN")


@pytest.mark.parametrize("stage", ["api", "agent"])
def test_each_image_runs_an_existing_command_without_root_and_is_watched(stages: Stages, stage: str) -> None:
    last = dict(stages[stage])  # the last of each instruction is the one that counts
    assert last["USER"] not in ("root", "0")
    parse_command(json.loads(last["CMD"]))
    assert "HEALTHCHECK" in last


@pytest.mark.parametrize("stage", ["api", "agent"])
def test_python_of_the_health_checks_compiles(stages: Stages, stage: str) -> None:
    check = dict(stages[stage])["HEALTHCHECK"]
    program, flag, source = json.loads(check[check.index("CMD ") + 4 :])
    assert (program, flag) == ("python", "-c")
    compile(source, "healthcheck", "exec")


@pytest.mark.parametrize("stage", ["api", "agent"])
def test_each_image_sets_variables_that_its_code_reads(checkout: Path, stages: Stages, stage: str) -> None:
    pairs = [pair for instruction, rest in stages[stage] if instruction == "ENV" for pair in shlex.split(rest)]
    ours = {name for name, _, _ in (pair.partition("=") for pair in pairs) if name.startswith(ENV_PREFIX)}
    assert ours
    assert ours <= variables_read(checkout, stage)


def test_everything_that_the_images_copy_exists_and_reaches_them(checkout: Path, stages: Stages) -> None:
    let_in = {
        line[1:] for line in (checkout / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"
    }
    copied = {source for instruction, rest in stages["wheel"] if instruction == "COPY" for source in rest.split()[:-1]}
    assert all((checkout / source).exists() for source in copied)
    assert copied == let_in


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
