"""``mixwright corpus`` as its user sees it: a table, or one sentence and exit code 1."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cli import run
from proxy_training.corpus_read import Corpus
from tests.proxy_training.text_corpora import names_in, texts, write_config, write_jsonl


@pytest.fixture
def config(tmp_path: Path) -> Path:
    write_jsonl(tmp_path / "a.jsonl", texts(0, 30))
    (tmp_path / "b").mkdir()
    for number, text in enumerate(texts(1, 30)):
        (tmp_path / "b" / f"{number}.txt").write_text(text)
    return write_config(tmp_path, {"law [old]": ["a.jsonl"], "letters": ["b"]}, validation_fraction=0.3)


def test_a_corpus_is_built_and_shown(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run(["corpus", "build", str(config), "--out", str(out)]) == 0
    built = capsys.readouterr().out
    corpus = Corpus.open(out, verify=True)
    assert "law [old]" in built
    assert f"{corpus.train_tokens('letters'):,}" in built
    assert "letters: CC0-1.0 (made up for a test)" in built
    assert run(["corpus", "info", str(out), "--verify"]) == 0
    shown = capsys.readouterr().out
    assert corpus.corpus_hash in shown
    assert "Every byte is as it was built." in shown


def test_an_error_is_one_sentence_and_leaves_nothing(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "b" / "picture.png").write_bytes(b"\x89PNG\r\n")
    before = names_in(tmp_path)
    assert run(["corpus", "build", str(config), "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("mixwright: ")
    assert "picture.png is not text: byte 0 is not UTF-8" in error
    assert names_in(tmp_path) == before


def test_a_second_build_needs_overwrite(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["corpus", "build", str(config), "--out", str(tmp_path / "out")]
    assert run(command) == 0
    assert run(command) == 1
    assert "say --overwrite" in capsys.readouterr().err
    assert run([*command, "--overwrite"]) == 0


def test_a_damaged_corpus_is_told(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["corpus", "build", str(config), "--out", str(tmp_path / "out")]) == 0
    next((tmp_path / "out").glob("000-*.train.tokens")).write_bytes(b"x")
    assert run(["corpus", "info", str(tmp_path / "out")]) == 1
    assert "has 1 bytes where the manifest means" in capsys.readouterr().err
