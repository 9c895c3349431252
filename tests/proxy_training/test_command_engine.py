"""Trainers of the user's own as processes: well-behaved ones, broken ones, and ones that do not want to end."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy_training import command_process, run_scratch
from proxy_training.checkpoint import CheckpointPolicy, Checkpoints
from proxy_training.engines import command, trainer_dialogue
from proxy_training.engines.base import EngineOptions
from proxy_training.engines.command import CommandEngine, RunFile
from proxy_training.errors import ProxyError
from proxy_training.work import Assignment, Failure
from tests.proxy_training.text_corpora import names_in
from tests.proxy_training.training_cases import STEP_TOKENS, Recorder, made_up_run
from tests.waiting import PATIENCE_SECONDS, alive, children_of, soon

RESULT = json.dumps({"status": "succeeded", "train_tokens": STEP_TOKENS, "losses": {"a": 1.5}})
SAY_RESULT = f"print({RESULT!r})\n"
# Starts in a fiftieth of a second; everything that a test's trainer needs.
HEAD = "import json, os, signal, sys, time\nspec, out = sys.argv[1:3]\n"


@pytest.fixture
def _little_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a trainer must be ended that does not want to. All others have as long as they need."""
    monkeypatch.setattr(command_process.CommandProcess.__init__, "__defaults__", (None, 0.3))
    monkeypatch.setattr(trainer_dialogue, "_LINGER_SECONDS", 0.3)


class Place:
    """A folder with a trainer in it, and engines that start it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script = folder / "a trainer.py"
        self.made: list[CommandEngine] = []

    def engine(self, program: str, slots: int | None = None) -> CommandEngine:
        self.script.write_text(HEAD + program)
        text = f"'{sys.executable}' -I -S '{self.script}' {{spec}} {{out}}"
        policy = CheckpointPolicy(Checkpoints(self.folder / "kept"), 1.0)
        self.made.append(CommandEngine(EngineOptions(command=text, slots=slots, policy=policy)))
        return self.made[-1]

    def train(self, program: str, watcher: Recorder | None = None) -> Any:
        """The outcome of one run."""
        watcher = watcher or Recorder()
        self.engine(program).train([Assignment("run", made_up_run())], None, watcher)
        return watcher.outcomes.get("run")

    @property
    def runs(self) -> Path:
        return self.folder / "kept" / "trainers"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    for engine in made.made:
        engine.close()


class Wishes(Recorder):
    """Wants the end of everything, or of the run, as soon as a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.stop = False
        self.drop: set[str] = set()

    def stopping(self) -> bool:
        return self.stop

    def unwanted(self) -> Collection[str]:
        return self.drop


def test_a_trainer_is_told_its_run_and_its_lines_become_points_and_a_result(place: Place) -> None:
    watcher = Recorder()
    result = place.train(
        "run = json.load(open(spec))\n"
        "assert run['out'] == out and os.listdir(out) == []\n"
        "assert run['corpus'] is None and 'MIXWRIGHT_API_KEY' not in os.environ\n"
        "weights = run['spec']['stages'][0]['weights']\n"
        "print('hello'); print(json.dumps({'train_tokens': 16}))\n"
        "print(json.dumps({'train_tokens': 32, 'losses': weights}), flush=True)\n"
        "until = time.process_time() + 0.05\n"
        "while time.process_time() < until: pass\n" + SAY_RESULT,
        watcher,
    )
    assert result.status == "succeeded"
    assert watcher.progress["run"] == [16, 32]
    assert [(name, point.train_tokens) for name, point in watcher.points] == [("run", 32)]
    assert watcher.points[0][1].losses["b"].value == 0.5
    assert [point.train_tokens for point in result.trajectory] == [32, STEP_TOKENS]
    assert 0.05 <= result.cpu_seconds <= result.wall_seconds + 0.5
    assert names_in(place.runs) == []


def test_the_key_of_the_agent_stays_with_the_agent(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIXWRIGHT_API_KEY", "secret")
    assert place.train("assert 'secret' not in str(os.environ)\n" + SAY_RESULT).status == "succeeded"


def test_the_file_of_a_run_is_the_documented_one(place: Place) -> None:
    place.train("import shutil; shutil.copy(spec, spec + '/../../../seen.json'.replace('/..', '', 1)); sys.exit(1)")
    run = RunFile.model_validate_json((place.runs / "run" / "spec.json").read_bytes())
    assert run.spec == made_up_run()
    assert (run.run_id, run.corpus, run.out) == ("run", None, str(place.runs / "run" / "out"))


def test_what_a_trainer_keeps_is_there_at_its_next_attempt_until_it_succeeds(place: Place) -> None:
    program = (
        f"kept = os.path.join(out, 'state')\nif os.path.exists(kept): {SAY_RESULT}else: open(kept, 'w'); sys.exit(75)"
    )
    first = place.train(program)
    assert isinstance(first, Failure)
    assert first.retry
    assert names_in(place.runs / "run" / "out") == ["state"]
    assert place.train(program).status == "succeeded"
    assert names_in(place.runs) == []


def test_folders_of_runs_that_nobody_tries_again_are_swept(place: Place) -> None:
    for name, age_days in (("old", 8), ("young", 6)):
        (place.runs / name / "out").mkdir(parents=True)
        at = time.time() - age_days * 24 * 3600
        os.utime(place.runs / name, (at, at))
    place.engine("")
    assert names_in(place.runs) == ["young"]


@pytest.mark.parametrize(
    ("end", "retry", "said"),
    [
        ("sys.exit(75)", True, "ended with code 75"),
        ("sys.exit(1)", True, "ended with code 1"),
        ("sys.exit(2)", False, "ended with code 2"),
        ("sys.exit(64)", False, "ended with code 64"),
        ("sys.exit(65)", False, "ended with code 65"),
        ("sys.exit(78)", False, "ended with code 78"),
        ("os.kill(os.getpid(), signal.SIGKILL)", True, "was ended by SIGKILL"),
        ("os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)", True, "was ended by SIGKILL"),
    ],
)
def test_the_exit_code_says_whether_another_attempt_may_help(place: Place, end: str, retry: bool, said: str) -> None:
    outcome = place.train(
        "print(json.dumps({'train_tokens': 16}), flush=True)\n"
        f"sys.stderr.write('first\\nlast\\n'); sys.stderr.flush()\n{end}"
    )
    assert outcome == Failure(f"the trainer {said} after 16 tokens: first | last", retry)


def test_a_good_end_without_a_result_is_a_failure_and_with_a_last_measurement_a_result(place: Place) -> None:
    outcome = place.train("print(json.dumps({'train_tokens': 16, 'losses': {'a': 1}}))")
    assert isinstance(outcome, Failure)
    assert not outcome.retry
    assert "without a result after 16 tokens" in outcome.reason
    result = place.train(f"print(json.dumps({{'train_tokens': {STEP_TOKENS}, 'losses': {{'a': 1}}}}), end='')")
    assert result.status == "succeeded"
    assert result.wall_seconds > 0


def test_a_crash_after_the_result_does_not_take_it_away(place: Place) -> None:
    assert place.train(f"{SAY_RESULT}sys.stdout.flush(); os.abort()").status == "succeeded"


def test_a_wrong_line_ends_the_trainer_at_once_and_for_good(place: Place) -> None:
    outcome = place.train("print(json.dumps({'tokens': 16}), flush=True); time.sleep(60)")
    assert isinstance(outcome, Failure)
    assert not outcome.retry
    assert "line 1 of the trainer's output, '{\"tokens\": 16}', is wrong" in outcome.reason


def test_a_loss_that_is_not_finite_ends_the_trainer_as_diverged(place: Place) -> None:
    result = place.train(
        "print(json.dumps({'train_tokens': 16, 'losses': {'a': float('nan')}}), flush=True)\ntime.sleep(60)"
    )
    assert result.status == "diverged"
    assert "that is not finite after 16 tokens" in result.message


def test_a_line_without_end_and_a_flood_cost_neither_memory_nor_the_result(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    program = (
        "for _ in range(16): sys.stdout.write('x' * (1 << 20))\n"
        "print()\n"
        "for number in range(20000): print('line', number)\n"
        "for number in range(20000): sys.stderr.write('\\x1b[31m')\n" + SAY_RESULT
    )
    assert place.train(program).status == "succeeded"
    assert len(caplog.records) < 4000  # of 40,000: some every second
    assert max(len(record.getMessage()) for record in caplog.records) < 600
    assert "\x1b" not in caplog.text


def test_a_json_line_that_is_too_long_is_an_error(place: Place) -> None:
    outcome = place.train("print(json.dumps({'message': 'x' * (2 << 20)}), flush=True); time.sleep(60)")
    assert outcome == Failure("line 1 of the trainer's output is longer than 1048576 bytes", retry=False)


@pytest.mark.usefixtures("_little_grace")
@pytest.mark.parametrize("said", ["", SAY_RESULT])
def test_a_trainer_that_has_nothing_more_to_say_but_does_not_end_is_ended(place: Place, said: str) -> None:
    outcome = place.train(f"{said}sys.stdout.flush(); os.close(1); time.sleep(60)")
    if said:
        assert outcome.status == "succeeded"
    else:
        assert outcome == Failure(
            "the trainer closed its standard output without a result and went on for 0.3 seconds", retry=True
        )


def in_background(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


STUBBORN = (  # it and its child do not mind SIGTERM
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "child = os.fork()\n"
    "if child: open(os.path.join(out, 'half'), 'w').write(f'{os.getpid()} {child}')\n"
    "if child: os.rename(os.path.join(out, 'half'), os.path.join(out, 'pids'))\n"
    "time.sleep(60)"
)


def pids_of(place: Place) -> list[int]:
    path = place.runs / "run" / "out" / "pids"
    assert soon(path.exists)
    return [int(pid) for pid in path.read_text().split()]


@pytest.mark.usefixtures("_little_grace")
@pytest.mark.parametrize("why", ["stop", "unwanted"])
def test_a_trainer_that_nobody_wants_ends_with_all_its_children_and_without_an_outcome(place: Place, why: str) -> None:
    watcher = Wishes()
    thread = in_background(lambda: place.train(STUBBORN, watcher))
    pids = pids_of(place)
    watcher.stop, watcher.drop = why == "stop", {"run"} if why == "unwanted" else set()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    assert watcher.outcomes == {}
    assert soon(lambda: not any(alive(pid) for pid in pids))


def test_a_result_that_is_said_in_the_grace_period_counts(place: Place) -> None:
    watcher = Wishes()
    program = (
        f"def end(*_):\n    print({RESULT!r}, flush=True)\n    os._exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\nopen(os.path.join(out, 'pids'), 'w').close()\ntime.sleep(60)"
    )
    thread = in_background(lambda: place.train(program, watcher))
    assert soon((place.runs / "run" / "out" / "pids").exists)
    watcher.stop = True
    thread.join(PATIENCE_SECONDS)
    assert watcher.result("run").status == "succeeded"


def test_kill_9_of_the_agent_leaves_no_trainer_behind_and_no_other_one_near_its_folder(place: Place) -> None:
    place.engine(STUBBORN)
    agent = (
        "import sys, types, proxy_training; from pathlib import Path\n"
        # The package without its registry, which would import torch for seconds.
        "engines = types.ModuleType('proxy_training.engines')\n"
        "engines.__path__ = [proxy_training.__path__[0] + '/engines']\n"
        "sys.modules['proxy_training.engines'] = engines\n"
        "from proxy_training import command_process as t\n"
        "from proxy_training.run_scratch import RunScratch\n"
        f"with RunScratch(Path({str(place.runs)!r})).of('run', 0, lambda: False) as folder:\n"
        "    out = folder.path / 'out'; out.mkdir()\n"
        f"    words = [sys.executable, '-I', '-S', {str(place.script)!r}, 'none', str(out)]\n"
        "    with t.CommandProcess(words, {}, folder.lock, 0.3) as process:\n"
        "        while True: process.read(1)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", agent])
    try:
        pids = pids_of(place)
        (watchdog,) = children_of(process.pid)
        os.kill(watchdog, signal.SIGSTOP)  # as long as we look, the trainer outlives its agent
    finally:
        process.kill()
        process.wait()
    scratch = run_scratch.RunScratch(place.runs)
    with pytest.raises(run_scratch.FolderInUse, match="still works on this run"), scratch.of("run", 0, lambda: False):
        pass
    os.kill(watchdog, signal.SIGCONT)
    with scratch.of("run", PATIENCE_SECONDS, lambda: False):  # free as soon as the last process is gone
        assert not any(alive(pid) for pid in pids)


def test_as_many_trainers_as_slots_run_at_the_same_time_each_with_a_gpu_of_its_own(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "visible_gpus", lambda: ["4", "GPU-5"])
    shared = place.folder / "shared"
    shared.mkdir()
    engine = place.engine(  # each waits for the other
        f"open({str(shared)!r} + '/' + os.environ['CUDA_VISIBLE_DEVICES'], 'w').close()\n"
        f"while len(os.listdir({str(shared)!r})) < 2: time.sleep(0.01)\n" + SAY_RESULT,
        slots=2,
    )
    assert engine.slots == 2
    watcher = Recorder()
    threads = [
        in_background(lambda name=name: engine.train([Assignment(name, made_up_run())], None, watcher))
        for name in ("one", "two")
    ]
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert set(watcher.outcomes) == {"one", "two"}
    assert names_in(shared) == ["4", "GPU-5"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "the engine 'command' needs --command, such as 'python my_train.py --config {spec}'"),
        ("python train.py", "the command 'python train.py' has no {spec}; it may hold {spec} (the JSON file"),
        ("python {spec} {seed}", "has an unknown placeholder {seed}; there are {spec}"),
        ("python '{spec}", "cannot be split into words: No closing quotation"),
        ("", "has no {spec}"),
        ("no-such-program {spec}", "the program 'no-such-program' of the command"),
    ],
)
def test_a_command_that_cannot_work_is_refused_at_the_start(text: str | None, sentence: str) -> None:
    with pytest.raises(ProxyError) as raised:
        CommandEngine(EngineOptions(command=text))
    assert sentence in str(raised.value)


def test_options_of_other_engines_are_refused(tmp_path: Path) -> None:
    for options in ({"address": "auto"}, {"metrics_command": "m"}, {"keep_models": tmp_path}):
        with pytest.raises(ProxyError, match="has no use for --"):
            CommandEngine(EngineOptions(command="python {spec}", **options))


def test_a_program_that_vanishes_is_a_failure_that_another_machine_may_not_have(place: Place, tmp_path: Path) -> None:
    program = tmp_path / "trainer"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    engine = CommandEngine(EngineOptions(command=f"'{program}' {{spec}}"))
    program.unlink()
    watcher = Recorder()
    engine.train([Assignment("run", made_up_run())], tmp_path, watcher)
    engine.close()
    outcome = watcher.outcomes["run"]
    assert isinstance(outcome, Failure)
    assert outcome.retry
    assert f"ended with code 127 after 0 tokens: {program} cannot be started" in outcome.reason


def test_a_run_id_from_the_network_stays_in_its_folder(place: Place) -> None:
    watcher = Recorder()
    place.engine("sys.exit(1)").train([Assignment("../../etc", made_up_run())], None, watcher)
    assert names_in(place.runs) == ["______etc"]
    assert command.PLACEHOLDERS.keys() == {"spec", "corpus", "out", "run_id"}
