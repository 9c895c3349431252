"""``mixwright recommend --export``: the mixture to act on reaches a trainer's file, or nothing is written."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.cli import run
from tests.app.swarm_tables import domain_rows, write_swarm

Answer = Callable[..., dict[str, Any]]
Refusal = Callable[..., str]
LOG_LINEAR = ("--law", "log_linear", "--target-tokens", "2e9")


@pytest.fixture(scope="module")
def bound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The planted swarm, whose books lie in two files."""
    paths = {"web": "/d/web.bin", "code": "/d/code", "books": "/d/b 1 | /d/b 2"}
    domains = [row | {"path": paths[str(row["domain"])], "mean_document_tokens": 100} for row in domain_rows()]
    return write_swarm(tmp_path_factory.mktemp("bound") / "swarm", domains=domains)


def test_the_mixture_to_act_on_is_written_with_the_paths_of_the_domains(
    answer: Answer, bound: Path, tmp_path: Path
) -> None:
    document = answer(
        "recommend", bound, *LOG_LINEAR, "--export", f"megatron:{tmp_path / 'out'}", "--export-option", "valid=/d/held"
    )
    blend = json.loads((tmp_path / "out" / "blend.json").read_text())
    weights = dict(zip(blend["train"][1::2], map(float, blend["train"][::2]), strict=True))
    p = document["offered"]["weights"]
    assert weights["/d/web"] == pytest.approx(p["web"], rel=1e-9)
    assert weights["/d/code"] == pytest.approx(p["code"], rel=1e-9)
    assert weights["/d/b 1"] == weights["/d/b 2"] == pytest.approx(p["books"] / 2, rel=1e-9)
    assert blend["valid"] == ["1.0", "/d/held"]
    provenance = blend["_mixwright"]["provenance"]
    assert provenance["swarm"] == "swarm"
    assert (provenance["law"], provenance["mixture"]) == ("log_linear", document["offered"]["mixture"])
    available = {row["domain"]: float(row["available_tokens"]) for row in domain_rows()}
    assert blend["_mixwright"]["epochs"] == pytest.approx({name: p[name] * 2e9 / available[name] for name in p})


def test_the_report_names_the_files_and_the_notes(
    bound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["recommend", str(bound), *LOG_LINEAR, "--export", f"csv:{tmp_path}"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    (file,) = tmp_path.iterdir()
    assert f"Wrote {file}." in out
    assert "Weight unit: " in out
    rows = list(csv.DictReader(line for line in file.read_text().splitlines() if not line.startswith("#")))
    assert sum(float(row["weight"]) for row in rows) == pytest.approx(1)


def test_a_swarm_without_paths_is_refused_before_a_law_is_fitted(
    refusal: Refusal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.offline.trusted_law", lambda *_: pytest.fail("a law was fitted"))
    swarm = write_swarm(tmp_path / "swarm")
    said = refusal("recommend", swarm, *LOG_LINEAR, "--export", f"olmo-core:{tmp_path / 'out'}")
    assert said.startswith("--export: format 'olmo-core' needs the path of each domain")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--export", "megatronn:out"], "--export is 'megatronn:out'; write FORMAT:FOLDER, with a format of megatron"),
        (["--export", "csv"], "--export is 'csv'; write FORMAT:FOLDER"),
        (["--export", "csv:out", "--export-option", "cap=3"], '--export-option: there is no option "cap"; accepted:'),
        (["--export", "csv:out", "--export-option", "max_epochs"], "--export-option is 'max_epochs'; write NAME=VALUE"),
        (["--export-option", "max_epochs=3"], "--export-option needs --export FORMAT:FOLDER"),
        (["--export", "levanter:out", "--export-option", "batch_size=x"], 'option "batch_size" is "x"'),
    ],
)
def test_a_wrong_wish_is_named(refusal: Refusal, bound: Path, arguments: list[str], said: str) -> None:
    assert said in refusal("recommend", bound, *arguments)


def test_a_length_of_zero_is_refused_by_its_place(refusal: Refusal, tmp_path: Path) -> None:
    domains = [row | {"mean_document_tokens": 0} for row in domain_rows()]
    swarm = write_swarm(tmp_path / "swarm", domains=domains)
    assert "0 is no length" in refusal("recommend", swarm)
