"""`mixwright agent` as a process: told to stop, killed, started again, and told wrong things."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from proxy_training.checkpoint import Checkpoints
from proxy_training.corpus_read import Corpus
from proxy_training.engines import ENGINES
from proxy_training.spec import ProxySpec
from tests.proxy_training.fake_service import FakeService
from tests.proxy_training.text_corpora import make_corpus, texts
from tests.proxy_training.training_cases import STEP_TOKENS, some_runs
from tests.waiting import PATIENCE_SECONDS, soon, state_of

LONG, SHORT = 100_000, 4  # steps: more than a test waits for, and a moment
# The command line, which stands still as soon as it has saved a stack, so that it can be killed in the middle.
STANDS_AFTER_A_SAVE = """
import os, signal
from proxy_training.checkpoint import Checkpoints

save = Checkpoints.save

def save_and_stand(checkpoints, state):
    path = save(checkpoints, state)
    os.kill(os.getpid(), signal.SIGSTOP)
    return path

Checkpoints.save = save_and_stand
from app.cli import main
main()
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder: Path = tmp_path_factory.mktemp("agent_process")
    return make_corpus(folder, {"a": texts(0, 30), "b": texts(1, 30)}, context=16, validation_fraction=0.2)


class Agents:
    """Agent processes of one test, all with the same spool."""

    def __init__(self, corpus: Corpus, folder: Path) -> None:
        self._corpus = corpus
        self.folder = folder
        self.started: list[subprocess.Popen[str]] = []

    def start(
        self, service: FakeService, *options: str, program: Sequence[str] = ("-m", "app.cli")
    ) -> subprocess.Popen[str]:
        command = [sys.executable, *program, "agent", "--server", service.url, "--lease-seconds", "1"]
        command += ["--corpus", str(self._corpus.folder), "--spool", str(self.folder), *options]
        variables = {**os.environ, "MIXWRIGHT_API_KEY": "secret", "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, env=variables, stderr=subprocess.PIPE, text=True)
        self.started.append(process)
        return process


@pytest.fixture
def agents(corpus: Corpus, tmp_path: Path) -> Iterator[Agents]:
    made = Agents(corpus, tmp_path)
    yield made
    for process in made.started:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.fixture
def serve() -> Iterator[Callable[[list[ProxySpec]], FakeService]]:
    made: list[FakeService] = []

    def start(specs: list[ProxySpec]) -> FakeService:
        service = FakeService(specs, api_key="secret")
        service.start()
        made.append(service)
        return service

    yield start
    for service in made:
        service.stop()


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.slow
def test_sigterm_gives_the_leases_back_and_ends_well(
    agents: Agents, corpus: Corpus, serve: Callable[[list[ProxySpec]], FakeService]
) -> None:
    service = serve(some_runs(corpus, 3, steps=LONG))
    process = agents.start(service)
    assert soon(lambda: any(run.progress_tokens for run in service.runs.values()))
    process.terminate()
    _, log = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0
    assert service.states() == ["queued"] * 3
    assert "Traceback" not in log


@pytest.mark.slow
def test_after_kill_9_another_agent_goes_on_and_no_file_is_half_written(
    agents: Agents, corpus: Corpus, serve: Callable[[list[ProxySpec]], FakeService]
) -> None:
    specs = some_runs(corpus, 2, steps=600, measure_at_tokens=(100 * STEP_TOKENS,))
    service = serve(specs)
    first = agents.start(service, "--checkpoint-seconds", "0.1", program=("-c", STANDS_AFTER_A_SAVE))
    assert soon(lambda: state_of(first.pid) == "T")
    first.kill()
    first.communicate()
    (saved,) = [path for path in files_in(agents.folder) if path.suffix == ".stack"]
    state = Checkpoints(saved.parent).find(specs, "fp32")
    assert state is not None
    assert state.parameters.shape[0] == 2
    second = agents.start(service, "--exit-when-idle", "1.5")
    _, log = second.communicate(timeout=120)
    assert second.returncode == 0
    assert "Resumed 2 runs" in log
    assert service.states() == ["succeeded"] * 2
    assert [run.completions for run in service.runs.values()] == [1, 1]
    for run in service.runs.values():
        assert run.result is not None
        measured = [point["train_tokens"] for point in run.result["trajectory"]]
        assert measured == [100 * STEP_TOKENS, 600 * STEP_TOKENS]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., tuple[int, str]]]:
    """The command line in this process, which is afterwards as it was: signal handlers, logging and variables."""
    import logging

    from app.cli import run

    handlers = {signum: signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT)}
    root = logging.getLogger()
    log_handlers, level = root.handlers, root.level

    def call(*arguments: str) -> tuple[int, str]:
        code = run(["agent", *arguments])
        return code, capsys.readouterr().err

    yield call
    for signum, handler in handlers.items():
        signal.signal(signum, handler)
    root.handlers, root.level = log_handlers, level


def said(stderr: str) -> list[str]:
    """What the user is told, without the log."""
    return [line for line in stderr.splitlines() if line.startswith("mixwright:")]


def test_a_folder_that_is_no_corpus_is_one_sentence(command: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    code, stderr = command("--corpus", str(tmp_path / "nothing"))
    assert code == 1
    assert said(stderr) == [f"mixwright: there is no corpus folder {tmp_path / 'nothing'}"]
    assert "Traceback" not in stderr


def test_an_unknown_engine_is_one_sentence_that_lists_the_known(
    command: Callable[..., tuple[int, str]], corpus: Corpus, tmp_path: Path
) -> None:
    code, stderr = command("--corpus", str(corpus.folder), "--engine", "warp", "--spool", str(tmp_path))
    assert code == 1
    assert said(stderr) == [f"mixwright: there is no engine 'warp'; there are {', '.join(sorted(ENGINES))}"]


def test_an_address_that_is_none_is_one_sentence(
    command: Callable[..., tuple[int, str]], corpus: Corpus, tmp_path: Path
) -> None:
    code, stderr = command("--corpus", str(corpus.folder), "--server", "nowhere", "--spool", str(tmp_path))
    assert code == 1
    assert said(stderr) == ["mixwright: 'nowhere' is not an address of a service; write http://host:port"]


def test_a_spool_that_is_a_file_is_one_sentence(
    command: Callable[..., tuple[int, str]], corpus: Corpus, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    code, stderr = command("--corpus", str(corpus.folder), "--spool", str(tmp_path / "file"))
    assert code == 1
    assert len(said(stderr)) == 1
    assert f"the spool folder {tmp_path / 'file'} cannot be used" in said(stderr)[0]


def test_a_service_that_is_not_there_is_one_sentence(
    command: Callable[..., tuple[int, str]], corpus: Corpus, tmp_path: Path
) -> None:
    options = ("--server", "http://127.0.0.1:9", "--exit-when-idle", "0", "--spool", str(tmp_path))
    code, stderr = command("--corpus", str(corpus.folder), *options)
    assert code == 1
    assert said(stderr)[0].startswith("mixwright: http://127.0.0.1:9 cannot be reached")


def test_an_agent_without_data_says_which_option_names_it(command: Callable[..., tuple[int, str]]) -> None:
    code, stderr = command("--server", "http://127.0.0.1:9")
    assert code == 1
    assert said(stderr) == ["mixwright: no data is named to train on; give --corpus DIR"]


def test_data_without_a_folder_is_for_trainers_of_ones_own(command: Callable[..., tuple[int, str]]) -> None:
    code, stderr = command("--corpus-name", "web-2026", "--server", "http://127.0.0.1:9")
    assert code == 1
    assert said(stderr) == [
        "mixwright: the engine 'in_process' trains on tokenised corpora; name their folders with --corpus"
    ]


def test_an_agent_whose_parent_is_gone_leaves(
    command: Callable[..., tuple[int, str]], corpus: Corpus, tmp_path: Path
) -> None:
    not_our_parent = str(os.getpid())
    code, stderr = command("--corpus", str(corpus.folder), "--parent", not_our_parent, "--spool", str(tmp_path))
    assert code == 0
    assert "Stopped" in stderr


def test_agents_work_through_a_real_corpus(
    command: Callable[..., tuple[int, str]],
    corpus: Corpus,
    tmp_path: Path,
    serve: Callable[[list[ProxySpec]], FakeService],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "key").write_text("secret\n")
    monkeypatch.delenv("MIXWRIGHT_API_KEY", raising=False)
    monkeypatch.setenv("MIXWRIGHT_LOG_FORMAT", "json")
    service = serve([*some_runs(corpus, 3, steps=SHORT), *some_runs(corpus, 2, steps=SHORT + 1)])
    monkeypatch.setenv("MIXWRIGHT_URL", service.url)
    options = ("--key-file", str(tmp_path / "key"), "--exit-when-idle", "0", "--spool", str(tmp_path))
    code, stderr = command("--corpus", str(corpus.folder), *options)
    assert code == 0
    assert service.states() == ["succeeded"] * 5
    assert stderr.count('"event": "run_reported"') == 5
    assert "secret" not in stderr
