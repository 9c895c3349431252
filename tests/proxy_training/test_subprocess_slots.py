"""Worker processes: killed, left alone by their agent, told what to do by the wrong one, and dealt over GPUs."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from proxy_training.checkpoint import CheckpointPolicy, Checkpoints
from proxy_training.corpus_read import Corpus
from proxy_training.engines import subprocess_slots
from proxy_training.engines.base import EngineOptions
from proxy_training.engines.in_process import InProcessEngine
from proxy_training.engines.slot_messages import Ready, WorkerSetup
from proxy_training.engines.subprocess_slots import SubprocessEngine
from proxy_training.errors import ProxyError
from proxy_training.spec import ModelSpec, ProxySettings
from proxy_training.work import Assignment, Failure, Outcome
from tests.proxy_training.text_corpora import make_corpus, texts
from tests.proxy_training.training_cases import STEP_TOKENS, Recorder, some_runs
from tests.waiting import PATIENCE_SECONDS, alive, children_of, soon

LONG = 100_000  # steps: more than a test waits for


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder: Path = tmp_path_factory.mktemp("slots")
    return make_corpus(folder, {"a": texts(0, 30), "b": texts(1, 30)}, context=16, validation_fraction=0.2)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Checkpoints:
    return Checkpoints(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture(scope="module")
def engine(checkpoints: Checkpoints) -> Iterator[SubprocessEngine]:
    """Two slots; its workers log from INFO on."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.INFO)
    os.environ["MIXWRIGHT_API_KEY"] = "secret"
    made = SubprocessEngine(EngineOptions(slots=2, policy=CheckpointPolicy(checkpoints, every_seconds=3600)))
    del os.environ["MIXWRIGHT_API_KEY"]
    root.setLevel(level)
    yield made
    made.close()


class Batch(Recorder):
    """Runs that train until the test has seen enough."""

    def __init__(
        self, engine: SubprocessEngine, corpus: Corpus, threads: ThreadPoolExecutor, steps: int, runs: int = 2
    ) -> None:
        super().__init__()
        self._enough = threading.Event()
        assignments = [Assignment(str(spec.seed), spec) for spec in some_runs(corpus, runs, steps=steps)]
        self.over = threads.submit(engine.train, assignments, corpus.folder, self)

    def stopping(self) -> bool:
        return self._enough.is_set()

    def under_way(self) -> bool:
        return bool(self.progress)

    def stop(self) -> None:
        self._enough.set()
        self.over.result(PATIENCE_SECONDS)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


def workers_of(parent: int) -> list[int]:
    """The worker processes that ``parent`` has started and that still run."""
    return sorted(pid for pid, command in children_of(parent).items() if "slot_worker" in command)


@pytest.mark.slow
def test_a_killed_worker_fails_the_run_that_it_had_alone_and_no_others_and_is_replaced(
    engine: SubprocessEngine, corpus: Corpus, threads: ThreadPoolExecutor
) -> None:
    batches = [Batch(engine, corpus, threads, LONG, runs=1) for _ in range(2)]
    assert soon(lambda: all(batch.under_way() for batch in batches))
    pid = workers_of(os.getpid())[0]
    os.kill(pid, signal.SIGKILL)
    assert soon(lambda: any(batch.over.done() for batch in batches))
    hurt, other = sorted(batches, key=lambda batch: not batch.over.done())
    outcome = hurt.outcomes["0"]
    assert isinstance(outcome, Failure)
    assert outcome.retry
    assert "died: SIGKILL (the machine ran out of memory" in outcome.reason

    seen = len(other.progress["0"])
    assert soon(lambda: len(other.progress["0"]) > seen)
    replaced = Batch(engine, corpus, threads, steps=3)
    replaced.over.result(PATIENCE_SECONDS)
    assert replaced.result("0").status == "succeeded"
    assert pid not in workers_of(os.getpid())
    assert len(workers_of(os.getpid())) == 2
    other.stop()
    assert other.outcomes == {}


@pytest.mark.slow
def test_the_size_of_a_stack_whose_worker_was_killed_is_not_tried_again(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nexec {sys.executable} -m tests.proxy_training.killed_worker\n")
    python.chmod(0o755)
    assignments = [Assignment(str(spec.seed), spec) for spec in some_runs(corpus, 5, steps=4)]
    undisturbed, killed, again = Recorder(), Recorder(), Recorder()
    InProcessEngine(EngineOptions()).train(assignments, corpus.folder, undisturbed)
    monkeypatch.setattr(sys, "executable", str(python))
    policy = CheckpointPolicy(Checkpoints(tmp_path / "saved"), every_seconds=0.0)
    settings = assignments[0].spec.settings
    with closing(SubprocessEngine(EngineOptions(slots=1, policy=policy))) as engine, caplog.at_level(logging.WARNING):
        assert engine.preferred_stack(settings) > 2
        engine.train(assignments, corpus.folder, killed)
        halved = [vars(record)["stack"] for record in caplog.records if vars(record).get("event") == "stack_halved"]
        assert halved == [3, 2]
        assert "Memory is too small for 5 runs at once (the worker of slot 1 died: SIGKILL" in caplog.text
        assert engine.preferred_stack(settings) == 2
        deaths = caplog.text.count("the worker died")
        engine.train(assignments, corpus.folder, again)
        assert caplog.text.count("the worker died") == deaths == 2
    for assignment in assignments:
        for watcher in (killed, again):
            assert watcher.result(assignment.run_id).losses == undisturbed.result(assignment.run_id).losses
    # From the last checkpoint on: no step is told twice.
    assert killed.progress["0"] == sorted(set(killed.progress["0"]))


def test_a_worker_leaves_signals_to_its_agent_and_knows_no_key(
    engine: SubprocessEngine, corpus: Corpus, threads: ThreadPoolExecutor
) -> None:
    batch = Batch(engine, corpus, threads, LONG)
    assert soon(batch.under_way)
    for pid in workers_of(os.getpid()):
        assert b"MIXWRIGHT_API_KEY" not in Path(f"/proc/{pid}/environ").read_bytes()
        assert os.getpgid(pid) != os.getpgid(0)
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)
    seen = len(batch.progress["0"])
    assert soon(lambda: len(batch.progress["0"]) > seen + 3)
    batch.stop()
    assert batch.outcomes == {}


def test_what_a_worker_logs_is_in_the_agents_log(
    engine: SubprocessEngine, corpus: Corpus, checkpoints: Checkpoints, caplog: pytest.LogCaptureFixture
) -> None:
    specs = some_runs(corpus, 2, steps=7)
    assignments = [Assignment(str(spec.seed), spec) for spec in specs]
    saving = InProcessEngine(EngineOptions(policy=CheckpointPolicy(checkpoints, every_seconds=0.0)))
    saving.train(assignments, corpus.folder, Recorder(stop_after_tokens=3 * STEP_TOKENS))
    caplog.clear()
    with caplog.at_level(logging.INFO):
        engine.train(assignments, corpus.folder, Recorder())
    (line,) = [record for record in caplog.records if "Resumed" in record.getMessage()]
    slot = vars(line)["slot"]
    assert line.getMessage() == f"Slot {slot}: Resumed 2 runs at step 3"
    assert vars(line)["event"] == "stack_resumed"


class Broken(Recorder):
    def ended(self, run_id: str, outcome: Outcome) -> None:
        del run_id, outcome
        raise OSError("no space left on device")


def test_after_a_watcher_broke_the_slot_takes_the_next_batch(engine: SubprocessEngine, corpus: Corpus) -> None:
    assignments = [Assignment(str(spec.seed), spec) for spec in some_runs(corpus, 2, steps=3)]
    with pytest.raises(OSError, match="no space left"):
        engine.train(assignments, corpus.folder, Broken())
    watcher = Recorder()
    engine.train(assignments, corpus.folder, watcher)
    assert set(watcher.outcomes) == {"0", "1"}


AGENT = """
import sys
from pathlib import Path
from proxy_training.corpus_read import Corpus
from proxy_training.engines.base import EngineOptions
from proxy_training.engines.subprocess_slots import SubprocessEngine
from proxy_training.work import Assignment
from tests.proxy_training.training_cases import Recorder, some_runs

class Telling(Recorder):
    def progressed(self, run_ids, train_tokens):
        print(train_tokens, flush=True)

corpus = Corpus.open(Path(sys.argv[1]))
engine = SubprocessEngine(EngineOptions(slots=1))
engine.train([Assignment("0", some_runs(corpus, 1, steps=100_000)[0])], corpus.folder, Telling())
"""


@pytest.mark.slow
def test_a_worker_ends_with_its_agent_though_it_was_training(corpus: Corpus, checkout: Path) -> None:
    command = [sys.executable, "-c", AGENT, str(corpus.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=checkout) as agent:
        assert agent.stdout is not None
        assert agent.stdout.readline()
        (worker,) = workers_of(agent.pid)
        agent.kill()
    assert soon(lambda: not alive(worker))


def test_a_worker_that_does_not_start_is_an_error_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho out of luck >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    with pytest.raises(ProxyError, match="slot 1 did not start: exit code 3; its last words were: out of luck"):
        SubprocessEngine(EngineOptions(slots=2))


def test_what_is_no_message_or_half_of_one_is_logged_and_the_run_has_failed(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ready = Ready(device="cpu", device_type="cpu", free_bytes=10**9).model_dump_json()
    broken = tmp_path / "python"
    broken.write_text(
        f"#!/bin/sh\necho '{ready}'\nread setup\nread batch\necho 'a library greets you'\n"
        'echo \'{"kind": "news of tomorrow"}\'\nprintf \'{"kind": "ended", "run_id": "0", "res\'\nkill -9 $$\n'
    )
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    watcher = Recorder()
    with closing(SubprocessEngine(EngineOptions(slots=1))) as engine, caplog.at_level(logging.INFO):
        engine.train([Assignment("0", some_runs(corpus, 1)[0])], corpus.folder, watcher)
    outcome = watcher.outcomes["0"]
    assert isinstance(outcome, Failure)
    assert "the worker of slot 1 died: SIGKILL" in outcome.reason
    said = [record.getMessage() for record in caplog.records]
    assert "Slot 1: a library greets you" in said
    assert 'Slot 1: {"kind": "news of tomorrow"}' in said


class FakeSlot:
    """A slot on a GPU with 80 GB."""

    made: list[FakeSlot]
    ready = Ready(device="H100", device_type="cuda", free_bytes=80 * 10**9)

    def __init__(self, number: int, setup: WorkerSetup, environment: Mapping[str, str]) -> None:
        del number, setup
        self.gpu = environment["CUDA_VISIBLE_DEVICES"]
        self.made.append(self)

    def start(self) -> FakeSlot:
        return self


@pytest.mark.parametrize(("slots", "dealt"), [(None, ["3", "5"]), (1, ["3"]), (5, ["3", "5", "3", "5", "3"])])
def test_slots_are_dealt_over_the_gpus_and_share_their_memory(
    slots: int | None, dealt: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeSlot, "made", [], raising=False)
    monkeypatch.setattr(subprocess_slots, "Slot", FakeSlot)
    monkeypatch.setattr(subprocess_slots, "visible_gpus", lambda: ["3", "5"])
    engine = SubprocessEngine(EngineOptions(slots=slots))
    assert [slot.gpu for slot in FakeSlot.made] == dealt
    assert engine.slots == len(dealt)
    assert engine.device == "2 x H100"
    # So large that memory decides: a third of the memory holds a third of the runs.
    wide = ModelSpec(d_model=64, n_layers=1, n_heads=1, d_ff=64, context=64, vocab_size=131072)
    settings = ProxySettings(corpus_hash="corpus", model=wide, train_tokens=10**6, batch_sequences=32)
    on_one_gpu = dealt.count("3")
    monkeypatch.setattr(subprocess_slots, "fastest_stack", lambda settings, kind: 10**6)
    alone = subprocess_slots.fitting_stack(settings, "cuda", FakeSlot.ready.free_bytes)
    assert engine.preferred_stack(settings) == pytest.approx(alone / on_one_gpu, abs=1)
