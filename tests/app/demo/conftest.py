"""The real text, gathered once at the smallest size that the demo allows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.demo.errors import DemoTextMissing
from app.demo.gather import GatheredText, gather


@pytest.fixture(scope="session")
def real_text(tmp_path_factory: pytest.TempPathFactory) -> GatheredText:
    try:
        return gather(tmp_path_factory.mktemp("real-text"), max_megabytes=2)
    except DemoTextMissing as exc:
        pytest.skip(f"the demo's packages are not all installed: {exc.detail}")


@pytest.fixture(scope="session")
def documents(real_text: GatheredText) -> dict[str, list[dict[str, str]]]:
    """Every document, by domain."""

    def read(path: Path) -> list[dict[str, str]]:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    return {domain.name: read(real_text.folder / domain.file) for domain in real_text.domains}
