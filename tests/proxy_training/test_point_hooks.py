"""Models that are kept, and metrics that a command of the user's own measures at every point."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import pytest

from proxy_training import stacked_run
from proxy_training.checkpoint import CheckpointPolicy, Checkpoints
from proxy_training.corpus_read import Corpus
from proxy_training.engines.base import EngineOptions
from proxy_training.engines.in_process import InProcessEngine
from proxy_training.errors import ProxyError
from proxy_training.metrics_command import MetricsCommand
from proxy_training.spec import Measured
from proxy_training.work import Assignment, Failure
from tests.proxy_training.text_corpora import make_corpus, names_in, texts
from tests.proxy_training.training_cases import STEP_TOKENS, TINY, Recorder, run_of, some_runs, tiny_settings

# Writes what the model's own record says, so that a test sees which model was measured, and where.
EVAL = """
import json, os, pathlib, sys
model, out, run_id, tokens = sys.argv[1:5]
record = json.loads((pathlib.Path(model) / "mixwright.json").read_text())
assert (record["run_id"], record["train_tokens"]) == (run_id, int(tokens))
assert "MIXWRIGHT_API_KEY" not in os.environ
with open(sys.argv[0] + ".log", "a") as log:
    print(run_id, tokens, file=log)
weights = (pathlib.Path(model) / "model.safetensors").stat().st_size
metrics = {"tokens": int(tokens), "size": {"value": weights, "stderr": 0.5}}
pathlib.Path(out).write_text(json.dumps(metrics))
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("corpus")
    return make_corpus(folder, {"a": texts(0, 30), "b": texts(1, 30)}, context=16, validation_fraction=0.2)


def eval_command(folder: Path, program: str = EVAL) -> str:
    """A command that runs ``program``, in a folder whose name no shell would take unquoted."""
    script = folder / "my eval's.py"
    script.write_text(program)
    return f'{sys.executable} "{script}" {{model}} {{out}} {{run_id}} {{train_tokens}}'


def train(corpus: Corpus, count: int, watcher: Recorder, *, measure: bool = True, **options: object) -> Recorder:
    """A stack of runs of 8 steps, measured after 4 of them and at the end."""
    engine = InProcessEngine(EngineOptions(**options))  # type: ignore[arg-type]
    specs = some_runs(corpus, count, measure_at_tokens=(4 * STEP_TOKENS,) if measure else ())
    engine.train([Assignment(f"run-{n}", spec) for n, spec in enumerate(specs)], corpus.folder, watcher)
    return watcher


def test_a_command_measures_every_run_at_every_point_and_its_metrics_stand_beside_the_losses(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIXWRIGHT_API_KEY", "secret")
    seen = train(corpus, 3, Recorder(), metrics_command=eval_command(tmp_path))
    plain = train(corpus, 3, Recorder())
    for run_id in ("run-0", "run-1", "run-2"):
        result = seen.result(run_id)
        assert [point.train_tokens for point in result.trajectory] == [4 * STEP_TOKENS, 8 * STEP_TOKENS]
        assert [point.metrics["tokens"].value for point in result.trajectory] == [4 * STEP_TOKENS, 8 * STEP_TOKENS]
        assert result.metrics == result.trajectory[-1].metrics
        assert result.metrics["size"].stderr == 0.5
        assert result.losses == plain.result(run_id).losses  # measuring disturbs nothing
    assert len((tmp_path / "my eval's.py.log").read_text().splitlines()) == 6


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        ("import sys; print('tried hard'); sys.exit('no GPU here')", "ended with code 1: no GPU here"),
        ("import os; os.kill(os.getpid(), 9)", "was ended by SIGKILL"),
        ("pass", "the metrics command wrote no file {out}"),
        ("import sys; open(sys.argv[2], 'w').write('{')", "wrote no JSON to {out}"),
        ("import sys; open(sys.argv[2], 'w').write('{}')", "must write an object with a metric or more"),
        ("import sys; open(sys.argv[2], 'w').write('[1]')", "must write an object with a metric or more"),
        ("import sys; open(sys.argv[2], 'w').write('{\"f1\": NaN}')", "wrote NaN for 'f1'; a finite number or"),
        ("import sys; open(sys.argv[2], 'w').write('{\"f1\": true}')", "wrote true for 'f1'"),
        ('import sys; open(sys.argv[2], \'w\').write(\'{"f1": {"value": 1, "std": 1}}\')', "for 'f1'"),
        ("import sys; open(sys.argv[2], 'w').write('{\"a\": 1}')", "calls a metric 'a'; that is a loss of the run"),
    ],
)
def test_a_run_whose_metrics_are_missing_has_failed_and_may_be_tried_again(
    corpus: Corpus, tmp_path: Path, program: str, sentence: str
) -> None:
    seen = train(corpus, 1, Recorder(), measure=False, metrics_command=eval_command(tmp_path, program))
    outcome = seen.outcomes["run-0"]
    assert isinstance(outcome, Failure)
    assert sentence in outcome.reason
    assert outcome.retry


def test_a_failed_measurement_costs_its_own_run_alone(corpus: Corpus, tmp_path: Path) -> None:
    program = "import sys\nassert sys.argv[3] != 'run-1', 'not this one'\nopen(sys.argv[2], 'w').write('{\"f1\": 1}')"
    seen = train(corpus, 3, Recorder(), metrics_command=eval_command(tmp_path, program))
    plain = train(corpus, 3, Recorder())
    assert isinstance(seen.outcomes["run-1"], Failure)
    assert len(seen.progress["run-1"]) == 4  # it has left the stack at the first point
    for run_id in ("run-0", "run-2"):
        assert seen.result(run_id).losses == plain.result(run_id).losses
        assert seen.result(run_id).metrics == {"f1": Measured(value=1.0)}


def test_a_stop_ends_the_command_and_the_point_is_measured_after_the_resume(corpus: Corpus, tmp_path: Path) -> None:
    # The second run's command hangs at the first point until it is ended.
    program = EVAL + "\nimport time\nif run_id == 'run-1' and not os.path.exists(sys.argv[0] + '.go'): time.sleep(600)"
    command = eval_command(tmp_path, program)
    policy = CheckpointPolicy(Checkpoints(tmp_path / "stacks"), every_seconds=0.0)
    stopped = train(corpus, 2, _StopsInTheSecondMeasurement(tmp_path), metrics_command=command, policy=policy)
    assert stopped.outcomes == {}
    (tmp_path / "my eval's.py.go").touch()
    seen = train(corpus, 2, Recorder(), metrics_command=command, policy=policy)
    plain = train(corpus, 2, Recorder())
    for run_id in ("run-0", "run-1"):
        tokens = [point.metrics["tokens"].value for point in seen.result(run_id).trajectory]
        assert tokens == [4 * STEP_TOKENS, 8 * STEP_TOKENS]
        assert seen.result(run_id).losses == plain.result(run_id).losses
    assert min(seen.progress["run-0"]) > 4 * STEP_TOKENS  # gone on with, not begun again


def test_a_run_that_ended_in_a_stopped_stack_ends_again_when_its_result_was_lost(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacked_run, "_WORTH_SAVING_SECONDS", 0.0)
    program = EVAL + "\nimport time\nif run_id == 'run-1' and not os.path.exists(sys.argv[0] + '.go'): time.sleep(600)"
    command = eval_command(tmp_path, program)
    policy = CheckpointPolicy(Checkpoints(tmp_path / "stacks"), every_seconds=600.0)
    stopped = _StopsInTheSecondMeasurement(tmp_path)
    train(corpus, 2, stopped, measure=False, metrics_command=command, policy=policy)
    assert set(stopped.outcomes) == {"run-0"}
    (tmp_path / "my eval's.py.go").touch()
    seen = train(corpus, 2, Recorder(), measure=False, metrics_command=command, policy=policy)
    assert seen.progress == {}  # all steps were done
    assert seen.result("run-0").losses == stopped.result("run-0").losses
    assert [len(seen.result(run_id).trajectory) for run_id in ("run-0", "run-1")] == [1, 1]


class _StopsInTheSecondMeasurement(Recorder):
    """Says stop as soon as the command for the second run is under way."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._log = folder / "my eval's.py.log"

    def stopping(self) -> bool:
        return self._log.exists() and "run-1" in self._log.read_text()


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("my_eval --model {model}", "{out}"),
        (f"{sys.executable} --out {{out}}", "has no {model}"),
        ("no-such-program-here {model} {out}", "no-such-program-here"),
        (f"{sys.executable} 'x {{model}} {{out}}", "cannot be split"),
        (f"{sys.executable} {{model}} {{out}} {{modle}}", "{modle}"),
    ],
)
def test_a_command_that_cannot_work_is_refused_before_any_run(command: str, sentence: str) -> None:
    with pytest.raises(ProxyError) as refused:
        MetricsCommand.parse(command)
    assert sentence in str(refused.value)


def test_the_model_of_every_finished_run_is_kept_under_its_name(corpus: Corpus, tmp_path: Path) -> None:
    train(corpus, 2, Recorder(), keep_models=tmp_path / "deep" / "models")
    assert names_in(tmp_path / "deep" / "models") == ["run-0", "run-1"]
    record = json.loads((tmp_path / "deep" / "models" / "run-1" / "mixwright.json").read_text())
    assert (record["run_id"], record["train_tokens"]) == ("run-1", 8 * STEP_TOKENS)


def test_a_model_that_cannot_be_kept_costs_no_result(
    corpus: Corpus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = InProcessEngine(EngineOptions(keep_models=tmp_path / "models"))
    (tmp_path / "models" / "run-0").write_text("a file where a folder belongs")
    spec, watcher = some_runs(corpus, 1)[0], Recorder()
    with caplog.at_level(logging.WARNING):
        engine.train([Assignment("run-0", spec), Assignment("../run-1", spec)], corpus.folder, watcher)
    assert watcher.result("run-0").losses == watcher.result("../run-1").losses
    assert "The model of run run-0 could not be kept" in caplog.text
    assert "The model of run ../run-1 could not be kept" in caplog.text
    assert names_in(tmp_path) == ["models"]


def test_a_model_without_a_llama_layout_is_refused_before_it_is_trained(corpus: Corpus, tmp_path: Path) -> None:
    settings = tiny_settings(corpus, model=TINY.model_copy(update={"feed_forward": "gelu"}))
    watcher = Recorder()
    engine = InProcessEngine(EngineOptions(keep_models=tmp_path / "models"))
    engine.train([Assignment("run-0", run_of(settings, {"a": 1.0}))], corpus.folder, watcher)
    outcome = watcher.outcomes["run-0"]
    assert isinstance(outcome, Failure)
    assert "'gelu' cannot be saved in the Llama layout" in outcome.reason
    assert not outcome.retry
    assert watcher.progress == {}
