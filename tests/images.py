"""The Dockerfile as its tests read it, and what the images of it take: commands and variables."""

from __future__ import annotations

import re
from pathlib import Path

import typer

from app.cli import build_app
from app.settings import ENV_PREFIX, Settings

# (instruction, rest) of every line by build stage, inherited ones first.
Stages = dict[str, list[tuple[str, str]]]
# Rooms whose code runs in the image of a stage.
_ROOMS = {"api": ("app",), "agent": ("proxy_training",)}


def read_stages(checkout: Path) -> Stages:
    """The build stages of the Dockerfile."""
    text = re.sub(r"\\\n\s*", " ", (checkout / "Dockerfile").read_text(encoding="utf-8"))
    found: Stages = {}
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


def parse_command(words: list[str]) -> dict[str, object]:
    """The parameters of a ``mixwright`` command, as the command line parses them; wrong ones raise its own error."""
    assert words[0] == "mixwright"
    name, command, rest, context = "mixwright", typer.main.get_command(build_app()), words[1:], None
    while True:
        context = command.make_context(name, list(rest), parent=context)
        rest = [*getattr(context, "_protected_args", ()), *context.args]
        if not rest:
            return context.params
        name, command, rest = command.resolve_command(context, rest)  # type: ignore[attr-defined]


def variables_read(checkout: Path, stage: str) -> set[str]:
    """Our variables that the code of an image reads: those of the settings, and those that are named in it."""
    settings = {f"{ENV_PREFIX}{name}".upper() for name in Settings.model_fields} if stage == "api" else set()
    sources = [path.read_text(encoding="utf-8") for room in _ROOMS[stage] for path in (checkout / room).rglob("*.py")]
    return settings | {name for text in sources for name in re.findall(rf'"({ENV_PREFIX}[A-Z_]+)"', text)}
