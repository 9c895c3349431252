"""The example trainer in the hands of a real agent: like the engine in process, on a corpus and on plain text."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from proxy_training.agent import AgentOptions
from proxy_training.agent_process import AgentSetup, run_agent
from proxy_training.corpus_read import Corpus
from proxy_training.engines.base import EngineOptions
from proxy_training.engines.command import RunFile
from proxy_training.engines.in_process import InProcessEngine
from proxy_training.spec import ProxySpec
from proxy_training.stopping import StopRequest
from proxy_training.training_options import TrainingOptions
from proxy_training.work import Assignment
from tests.proxy_training.fake_service import FakeService
from tests.proxy_training.text_corpora import make_corpus, texts
from tests.proxy_training.training_cases import STEP_TOKENS, Recorder, run_of, tiny_settings

STEPS = 30


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder: Path = tmp_path_factory.mktemp("own_trainer")
    return make_corpus(folder, {"a": texts(0, 30), "b": texts(1, 30)}, context=16, validation_fraction=0.2)


@pytest.fixture
def script(checkout: Path) -> Path:
    return checkout / "examples" / "own_trainer" / "my_train.py"


@pytest.fixture
def mixtures(corpus: Corpus) -> list[ProxySpec]:
    settings = tiny_settings(corpus, STEPS, measure_at_tokens=(STEPS // 2 * STEP_TOKENS,))
    return [run_of(settings, {"a": 0.9, "b": 0.1}), run_of(settings, {"a": 0.1, "b": 0.9})]


@pytest.fixture
def service(mixtures: list[ProxySpec]) -> Iterator[FakeService]:
    fake = FakeService(mixtures)
    fake.start()
    yield fake
    fake.stop()


@pytest.mark.slow
def test_an_agent_with_the_example_finds_what_the_engine_in_process_finds(
    corpus: Corpus, script: Path, mixtures: list[ProxySpec], service: FakeService, tmp_path: Path
) -> None:
    command = f"'{sys.executable}' '{script}' --config {{spec}}"
    setup = AgentSetup(
        server=service.url, api_key=None, name="own", spool=tmp_path, options=AgentOptions(exit_when_idle_seconds=0.0),
        training=TrainingOptions(corpus=[corpus.folder], command=command, slots=2),
    )  # fmt: skip
    run_agent(setup, StopRequest())
    watcher = Recorder()
    engine = InProcessEngine(EngineOptions())
    engine.train([Assignment(str(place), spec) for place, spec in enumerate(mixtures)], corpus.folder, watcher)
    assert service.states() == ["succeeded"] * 2
    for place, run in enumerate(service.runs.values()):
        assert run.result is not None
        ours = watcher.result(str(place))
        # Another start and another order of the text: the seeds of the engine in process differ by less than .1 bit.
        for name in ("a", "b"):
            assert run.result["losses"][name]["value"] == pytest.approx(ours.losses[name].value, abs=0.3)
        assert run.result["realised_weights"] == pytest.approx(ours.realised_weights, abs=1 / (STEPS * 4))
        assert run.result["epochs"] == pytest.approx(ours.epochs, rel=0.01)
        assert [point["train_tokens"] for point in run.result["trajectory"]] == [
            STEPS // 2 * STEP_TOKENS,
            STEPS * STEP_TOKENS,
        ]
        assert run.result["cpu_seconds"] > 0
    mostly_a, mostly_b = (run.result["losses"] for run in service.runs.values() if run.result)
    assert mostly_a["a"]["value"] < mostly_b["a"]["value"] - 0.1
    assert mostly_b["b"]["value"] < mostly_a["b"]["value"] - 0.1


@pytest.fixture
def example(script: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script as a module: a process of its own would import torch for seconds."""
    monkeypatch.syspath_prepend(str(script.parent))
    before, handler = set(sys.modules), signal.getsignal(signal.SIGTERM)
    yield importlib.import_module("my_train")
    signal.signal(signal.SIGTERM, handler)
    for name in {"my_train", "data", "model"} - before:
        sys.modules.pop(name, None)


@pytest.fixture
def described(mixtures: list[ProxySpec], tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    """The run file of a mixture, for an ``out`` of that name, with two plain texts beside it."""
    for seed, name in enumerate("ab"):
        (tmp_path / f"{name}.txt").write_text(" ".join(texts(seed, 30)))

    def describe(out: str) -> dict[str, Any]:
        (tmp_path / out).mkdir(exist_ok=True)
        spec = mixtures[0]
        run = RunFile(run_id="run", spec=spec, draw_seed=spec.draw_seed, corpus=None, out=str(tmp_path / out))
        return run.model_dump(mode="json")

    return describe


def test_the_example_goes_on_from_its_checkpoint_to_the_same_losses(
    example: ModuleType,
    described: Callable[[str], dict[str, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(example, "SPEAK_EVERY_SECONDS", 1e9)  # how far it is, it says by the clock
    example.train(example.Run(described("undisturbed"), tmp_path))
    undisturbed = capsys.readouterr().out.splitlines()
    measure = example.Run.measure
    with monkeypatch.context() as patched:
        patched.setattr(example.Run, "measure", lambda run: [measure(run), signal.raise_signal(signal.SIGTERM)])
        with pytest.raises(SystemExit) as ended:
            example.train(example.Run(described("disturbed"), tmp_path))
    assert ended.value.code == os.EX_TEMPFAIL
    assert len(capsys.readouterr().out.splitlines()) == 1
    example.train(example.Run(described("disturbed"), tmp_path))
    assert capsys.readouterr().out.splitlines() == undisturbed
    lines = [json.loads(line) for line in undisturbed]
    assert [line["train_tokens"] for line in lines] == [STEPS // 2 * STEP_TOKENS, *[STEPS * STEP_TOKENS] * 2]
    assert lines[2]["status"] == "succeeded"


def test_the_example_refuses_what_it_cannot_do_as_wrong_data(
    example: ModuleType,
    described: Callable[[str], dict[str, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "b.txt").unlink()
    with pytest.raises(SystemExit) as ended:
        example.Run(described("out"), tmp_path)
    assert ended.value.code == os.EX_DATAERR
    assert capsys.readouterr().err == "there is no domain 'b' of 17 tokens or more; there are a\n"
    run = described("out")
    run["spec"]["settings"]["model"]["tied_head"] = False
    with pytest.raises(SystemExit) as ended:
        example.Run(run, tmp_path)
    assert ended.value.code == os.EX_DATAERR
