"""Several processes make the same corpus, to the byte, and none of them outlives a build that ends early."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy_training import corpus_build, domain_build
from proxy_training.corpus_build import build_corpus
from proxy_training.corpus_config import CorpusConfig, read_config
from proxy_training.errors import CorpusError
from proxy_training.readers import columns, json_lines, megatron
from proxy_training.worker_pool import ordered_map
from tests.proxy_training.corpus_files import FORMATS, write_megatron, write_tokenizer
from tests.proxy_training.squares import kill_at_seven
from tests.proxy_training.text_corpora import names_in, texts, write_config, write_jsonl
from tests.waiting import alive, soon, spawned_by


def folder_content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def mixed_config(folder: Path, tokenizer: object) -> CorpusConfig:
    """Every format, with copies across files and domains."""
    made = [text for seed in range(4) for text in texts(seed, 150, 500)]
    for number, (name, write) in enumerate(FORMATS.items()):
        write(folder / f"{number}-{name}", made[number * 50 : number * 50 + 200])
    (folder / "letters").mkdir()
    for number, text in enumerate(texts(5, 70)):
        (folder / "letters" / f"{number}.txt").write_text(text)
    own = write_tokenizer(folder / "t.json", made[:20])
    write_megatron(folder / "tokens", [own.encode(text.encode()).tolist() for text in made[100:250]])
    files = {"lines": ["*.jsonl*", "*.zst"], "columns": ["*.parquet", "*.arrow"], "rest": ["letters", "tokens"]}
    path = write_config(folder, files, validation_fraction=0.3, tokenizer=tokenizer)
    path.write_text(path.read_text().replace("- files:", "- megatron_tokenizer: t.json\n  files:"))
    return read_config(path)


@pytest.mark.parametrize("tokenizer", ["bytes", {"bpe": {"vocab_size": 300, "sample_bytes": 50_000}}])
def test_the_corpus_does_not_depend_on_the_number_of_processes(
    tmp_path: Path, tokenizer: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = mixed_config(tmp_path, tokenizer)
    build_corpus(config, tmp_path / "alone")
    monkeypatch.setattr(corpus_build, "_BYTES_A_PROCESS", 1)
    for module in (columns, json_lines, megatron, domain_build):
        monkeypatch.setattr(module, "BLOCK_BYTES", 20_000)  # nor on how the text was cut into blocks
    build_corpus(config, tmp_path / "together", processes=2)
    content = folder_content(tmp_path / "alone")
    assert len(content) == 3 * 4 + 1 + (tokenizer != "bytes")
    assert folder_content(tmp_path / "together") == content


def test_an_error_in_a_worker_is_the_error_of_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_jsonl(tmp_path / "a.jsonl", texts(0, 30))
    (tmp_path / "b.jsonl").write_text('{"text": "x"}\n{"text": \n')
    config = read_config(write_config(tmp_path, {"a": ["a.jsonl", "b.jsonl"]}))
    monkeypatch.setattr(corpus_build, "_BYTES_A_PROCESS", 1)
    before = names_in(tmp_path)
    with pytest.raises(CorpusError, match=r"b\.jsonl, line 2: not JSON"):
        build_corpus(config, tmp_path / "out", processes=2)
    assert names_in(tmp_path) == before


def test_results_come_in_the_order_of_the_tasks_and_no_more_are_begun_than_there_are_processes() -> None:
    begun: list[int] = []

    def tasks() -> Iterator[int]:
        for number in range(8, 30):
            begun.append(number)
            yield number

    with ordered_map(kill_at_seven, 2) as squares:
        for done, square in enumerate(squares(tasks())):
            assert square == (8 + done) ** 2
            assert len(begun) <= done + 3
        assert len(begun) == 22
        assert list(squares([2, 3, 4])) == [4, 9, 16]
        assert list(squares([])) == []


def test_a_worker_that_is_killed_is_told() -> None:
    with ordered_map(kill_at_seven, 2) as squares, pytest.raises(CorpusError, match="process was killed by SIGKILL;"):
        list(squares(range(20)))


def build_process(folder: Path) -> subprocess.Popen[str]:
    """A build by the command line that takes several seconds."""
    write_jsonl(folder / "a.jsonl", [f"{number} {'word ' * 400}" for number in range(12_000)])
    config = write_config(folder, {"a": ["a.jsonl"]}, tokenizer={"bpe": {"vocab_size": 300, "sample_bytes": 1000}})
    command = [sys.executable, "-m", "app.cli", "corpus", "build", str(config), "--out", str(folder / "out")]
    return subprocess.Popen([*command, "--processes", "2"], stderr=subprocess.PIPE, text=True, start_new_session=True)


def interrupt(pid: int, workers: list[int]) -> None:
    del workers
    os.killpg(pid, signal.SIGINT)  # as Ctrl-C does: to all of them


def terminate(pid: int, workers: list[int]) -> None:
    del workers
    os.kill(pid, signal.SIGTERM)


def kill_a_worker(pid: int, workers: list[int]) -> None:
    del pid
    os.kill(workers[-1], signal.SIGKILL)


@pytest.mark.parametrize(
    ("disturb", "code", "sentence"),
    [
        (interrupt, 130, "mixwright: interrupted"),
        (terminate, 130, "mixwright: interrupted"),
        (kill_a_worker, 1, "mixwright: a worker process was killed by SIGKILL; nothing was written."),
    ],
)
def test_a_build_that_is_disturbed_ends_with_one_sentence_and_leaves_nothing(
    tmp_path: Path, disturb: Callable[[int, list[int]], None], code: int, sentence: str
) -> None:
    with build_process(tmp_path) as process:
        assert soon(lambda: any(tmp_path.glob(".out.*.part/*.train.tokens")) and len(spawned_by(process.pid)) == 2)
        workers = spawned_by(process.pid)
        disturb(process.pid, workers)
        assert process.wait(30) == code
        assert process.stderr is not None
        told = process.stderr.read().strip()
    assert told.startswith(sentence)
    assert "\n" not in told
    assert names_in(tmp_path) == ["a.jsonl", "corpus.yaml"]
    assert not any(map(alive, workers))


@pytest.mark.parametrize("started", [1, 2])
def test_workers_that_are_still_starting_say_nothing_about_an_interrupt(tmp_path: Path, started: int) -> None:
    with build_process(tmp_path) as process:
        assert soon(lambda: len(spawned_by(process.pid)) >= started)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr is not None
        assert process.stderr.read() == "mixwright: interrupted\n"


def test_workers_end_when_the_build_is_killed(tmp_path: Path) -> None:
    with build_process(tmp_path) as process:
        assert soon(lambda: len(spawned_by(process.pid)) == 2)
        workers = spawned_by(process.pid)
        process.kill()
    assert soon(lambda: not any(map(alive, workers)))
