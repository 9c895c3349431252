"""Runs of a file trained without a service: counted once, gone on with, and never half written."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import build_app
from proxy_training.corpus_read import Corpus
from proxy_training.errors import ProxyError
from proxy_training.offline_training import Tally, TrainingSetup, train_file
from proxy_training.run_files import RunFileError, open_results, read_specs
from proxy_training.spec import EarlyStopping, NamedResult, NamedSpec, ProxyResult, ProxySpec, parse_lines
from proxy_training.stopping import StopRequest
from proxy_training.training_options import TrainingOptions
from tests.proxy_training.text_corpora import make_corpus, names_in, texts
from tests.proxy_training.training_cases import made_up_run, run_of, some_runs, tiny_settings
from tests.waiting import soon


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("corpus")
    return make_corpus(folder, {"a": texts(0, 30), "b": texts(1, 30)}, context=16, validation_fraction=0.2)


def write_specs(path: Path, specs: Sequence[ProxySpec]) -> Path:
    lines = [NamedSpec(run_id=f"run-{n}", spec=spec).model_dump_json() for n, spec in enumerate(specs)]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def results_in(path: Path) -> dict[str, ProxyResult]:
    return {known.run_id: known.result for known in parse_lines(NamedResult, path.read_bytes().split(b"\n"), "it")}


def train(folder: Path, corpus: Corpus, stop_at: int | None = None) -> Tally:
    """Train ``specs.jsonl`` in stacks of two, and ask for the stop after ``stop_at`` tokens in all."""
    asked = StopRequest()

    def on_progress(tally: Tally) -> None:
        if stop_at is not None and tally.tokens_done >= stop_at:
            asked.ask()

    setup = TrainingSetup(
        specs=folder / "specs.jsonl",
        results=folder / "results.jsonl",
        training=TrainingOptions(corpus=[corpus.folder], max_stack=2, checkpoint_seconds=1e-9),  # after every step
    )
    return train_file(setup, asked, on_progress)


def test_every_run_of_a_file_is_trained_once_whatever_stacks_it_falls_into(corpus: Corpus, tmp_path: Path) -> None:
    specs = some_runs(corpus, 3)
    specs.insert(1, run_of(tiny_settings(corpus, steps=5), {"a": 1.0}))  # cannot share a stack with the others
    write_specs(tmp_path / "specs.jsonl", specs)
    tally = train(tmp_path, corpus)
    assert (tally.succeeded, tally.missing, tally.tokens_done) == (4, 0, tally.tokens)
    found = results_in(tmp_path / "results.jsonl")
    assert {run_id: result.train_tokens // 64 for run_id, result in found.items()} == {
        "run-0": 8, "run-1": 5, "run-2": 8, "run-3": 8,
    }  # fmt: skip
    assert found["run-0"].losses["a"].value > found["run-3"].losses["a"].value  # more of domain a
    assert names_in(tmp_path) == ["results.jsonl", "specs.jsonl"]
    again = train(tmp_path, corpus)
    assert (again.known, again.succeeded, again.tokens) == (4, 0, 0)
    assert results_in(tmp_path / "results.jsonl") == found


def test_results_of_other_runs_of_the_same_names_are_no_results_of_these(corpus: Corpus, tmp_path: Path) -> None:
    write_specs(tmp_path / "specs.jsonl", some_runs(corpus, 2))
    train(tmp_path, corpus)
    before = (tmp_path / "results.jsonl").read_bytes()
    write_specs(tmp_path / "specs.jsonl", some_runs(corpus, 3))
    with pytest.raises(RunFileError, match=r"has the result of another run 'run-0'.*name another file"):
        train(tmp_path, corpus)
    assert (tmp_path / "results.jsonl").read_bytes() == before


def test_a_stopped_training_goes_on_where_it_was_and_gives_the_same_losses(
    corpus: Corpus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    alone, stopped = tmp_path / "alone", tmp_path / "stopped"
    for folder in (alone, stopped):
        folder.mkdir()
        write_specs(folder / "specs.jsonl", some_runs(corpus, 4))
    train(alone, corpus)
    first = train(stopped, corpus, stop_at=3 * 8 * 64)  # in the middle of the second stack of two
    assert (first.succeeded, first.missing) == (2, 2)
    assert names_in(stopped) == [".results.jsonl.unfinished", "results.jsonl", "specs.jsonl"]
    with caplog.at_level(logging.INFO):
        second = train(stopped, corpus)
    assert "Resumed 2 runs at step 4" in caplog.text
    assert (second.known, second.succeeded, second.missing) == (2, 2, 0)
    losses = {run_id: result.losses for run_id, result in results_in(alone / "results.jsonl").items()}
    assert {run_id: result.losses for run_id, result in results_in(stopped / "results.jsonl").items()} == losses
    assert names_in(stopped) == ["results.jsonl", "specs.jsonl"]


def test_a_line_cut_short_by_a_kill_is_taken_away_and_its_run_trained_again(corpus: Corpus, tmp_path: Path) -> None:
    write_specs(tmp_path / "specs.jsonl", some_runs(corpus, 2))
    train(tmp_path, corpus)
    path = tmp_path / "results.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert train(tmp_path, corpus).known == 1
    assert {run_id: result.losses for run_id, result in results_in(path).items()} == {
        known.run_id: known.result.losses for known in parse_lines(NamedResult, whole.split(b"\n"), "it")
    }
    path.write_bytes(whole[:30])  # not one whole line
    assert train(tmp_path, corpus).known == 0
    assert len(results_in(path)) == 2


def test_a_run_that_cannot_be_trained_leaves_no_line_and_the_others_alone(corpus: Corpus, tmp_path: Path) -> None:
    specs = [*some_runs(corpus, 2), run_of(tiny_settings(corpus), {"elsewhere": 1.0})]
    write_specs(tmp_path / "specs.jsonl", specs)
    tally = train(tmp_path, corpus)
    assert (tally.succeeded, tally.missing, list(tally.failed)) == (2, 1, ["run-2"])
    assert "elsewhere" in tally.failed["run-2"]
    assert set(results_in(tmp_path / "results.jsonl")) == {"run-0", "run-1"}


def test_a_broken_line_is_named_by_file_line_and_field(tmp_path: Path) -> None:
    path = write_specs(tmp_path / "specs.jsonl", [made_up_run(0), made_up_run(1)])
    good = path.read_text().splitlines()
    for lines, sentence in (
        ([good[0], "", "{"], "specs.jsonl, line 3: Invalid JSON"),
        ([good[0], good[1].replace('"seed":1', '"seed":-1')], "specs.jsonl, line 2, spec.seed: Input should be"),
        ([good[1], good[0], good[1]], "specs.jsonl, line 3: run 'run-1' is in line 1 already"),
        ([good[0].replace('"a":0.5', '"a":0.6')], "line 1, spec.stages.0: the weights of a stage sum to 1.1"),
        ([], "specs.jsonl names no run"),
    ):
        path.write_text("\n".join(lines))
        with pytest.raises(RunFileError, match=r"specs\.jsonl") as refused:
            read_specs(path)
        assert sentence in str(refused.value)


def test_two_processes_cannot_write_one_file_of_results(tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from proxy_training.run_files import open_results\n" \
        "with open_results(Path(sys.argv[1])): print('in', flush=True); sys.stdin.read()"  # fmt: skip
    command = [sys.executable, "-c", program, str(tmp_path / "results.jsonl")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"in\n"
        with pytest.raises(RunFileError, match="another process writes to"), open_results(tmp_path / "results.jsonl"):
            pass
        other.communicate()
    with open_results(tmp_path / "results.jsonl") as free:
        assert free.known == []


def test_runs_of_another_corpus_are_refused_before_any_is_trained(corpus: Corpus, tmp_path: Path) -> None:
    write_specs(tmp_path / "specs.jsonl", [*some_runs(corpus, 1), made_up_run()])
    with pytest.raises(ProxyError, match=r"run 'run-1' of .* is for the corpus corpus; those given are"):
        train(tmp_path, corpus)
    assert names_in(tmp_path) == ["specs.jsonl"]


def test_a_corpus_of_another_tokenizer_is_named_as_such(corpus: Corpus, tmp_path: Path) -> None:
    stranger = tiny_settings(corpus).model_copy(update={"corpus_hash": "another"})
    larger = stranger.model_copy(update={"model": stranger.model.model_copy(update={"vocab_size": 4096})})
    for settings, told in ((stranger, False), (larger, True)):
        write_specs(tmp_path / "specs.jsonl", [run_of(settings, {"a": 1.0})])
        with pytest.raises(ProxyError, match="is for the corpus another") as refused:
            train(tmp_path, corpus)
        sentence = f"{corpus.folder} was made by bytes with {corpus.vocab_size} tokens, the models are for 4096"
        assert (sentence in str(refused.value)) is told


def test_early_stopping_without_a_service_is_told_to_do_nothing(
    corpus: Corpus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = tiny_settings(corpus, steps=4)
    rule = EarlyStopping(after_fraction=0.1, min_runs=2)
    stopping = plain.model_copy(update={"early_stopping": rule, "measure_at_tokens": (plain.step_tokens,)})
    write_specs(tmp_path / "specs.jsonl", [run_of(stopping, {"a": 1.0}), run_of(plain, {"b": 1.0})])
    with caplog.at_level(logging.WARNING):
        assert train(tmp_path, corpus).succeeded == 2
    told = [record.getMessage() for record in caplog.records if "early_stopping" in record.getMessage()]
    assert len(told) == 1
    assert told[0].startswith("early_stopping of 1 of 2 runs does nothing here")


def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(corpus: Corpus, tmp_path: Path) -> None:
    # Far more steps than could be done before the interrupt; a run of one step comes first.
    runs = [run_of(tiny_settings(corpus, steps=steps), {"a": 1.0}) for steps in (1, 10**6)]
    specs, out = write_specs(tmp_path / "specs.jsonl", runs), tmp_path / "results.jsonl"
    command = [sys.executable, "-m", "app.cli", "proxy", "train", str(specs), "--corpus", str(corpus.folder)]
    command += ["--out", str(out), "--keep-models", str(tmp_path / "models")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as training:
        try:
            assert soon(lambda: out.exists() and out.read_bytes().endswith(b"\n"), seconds=120.0)
            training.send_signal(signal.SIGINT)
            said, told = training.communicate(timeout=120)
        finally:
            training.kill()
    assert training.returncode == 130
    assert said.splitlines() == [f"1 runs trained; {out} holds 1 results."]
    assert "INFO    Run run-0 succeeded" in told
    last = told.splitlines()[-1]
    assert last.startswith("mixwright: stopped: 1 of 2 runs have no result; to go on with them, repeat: ")
    assert names_in(tmp_path / "models") == ["run-0"]


def test_presets_are_listed_with_their_sizes() -> None:
    done = CliRunner().invoke(build_app(), ["proxy", "presets"])
    assert done.exit_code == 0
    row = next(line.split() for line in done.stdout.splitlines() if line.strip().startswith("60M"))
    assert row[1:8] == ["59.12", "M", "640", "12", "10", "1712", "1024"]
