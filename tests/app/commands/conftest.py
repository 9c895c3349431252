"""Running a command as a user does: with its document, or with the one sentence that it is refused in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app import terminal
from app.cli import run
from tests.app.swarm_tables import write_swarm


@pytest.fixture
def swarm(tmp_path: Path) -> Path:
    return write_swarm(tmp_path / "swarm")


@pytest.fixture(autouse=True)
def _no_lines_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a fit takes long enough for a line that says how far it is."""
    monkeypatch.setattr(terminal, "_QUIET_SECONDS", 1e9)


@pytest.fixture
def answer(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Runs a command with ``--json`` and returns its document, the only thing that it prints."""

    def ask(*arguments: object) -> dict[str, Any]:
        assert run([*map(str, arguments), "--json"]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return json.loads(out, parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))

    return ask


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that must fail and returns its one sentence, without the ``mixwright:`` in front."""

    def ask(*arguments: object) -> str:
        assert run([*map(str, arguments)]) != 0
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("mixwright: ")
        assert err.count("\n") == 1
        return err.removeprefix("mixwright: ").strip()

    return ask
