"""The main job through real processes: service, worker, agent, HTTP; and the agent killed in the middle of it."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from uuid import UUID

import pytest
from rich.console import Console

from app.client import Client
from app.demo import plan, report, steps
from app.demo.corpus import DemoCorpus, find_or_build
from app.demo.gather import GatheredText
from app.demo.local_service import local_service
from app.schemas.runs import RunState
from proxy_training.spec import ProxySettings
from tests.waiting import alive, descendants_of, soon

pytestmark = pytest.mark.slow

_WORDS = {
    "python": "def return self import None for in range print class yield lambda",
    "cpp": "template typename const std::vector inline void auto static_cast int64_t nullptr",
    "legal": "licensee shall warranty hereby notwithstanding permission granted liability",
    "cloud_docs": "bucket request resource region policy identifier endpoint instance",
    "science_docs": "array shape matrix eigenvalue parameters returns optional float",
    "languages": "datum längd größe prénom número año место значение",
}


def make_text(folder: Path) -> GatheredText:
    """Documents of six vocabularies, in the form of the demo's gathered text."""
    folder.mkdir()
    lines = ["domains:"]
    for name, words in _WORDS.items():
        draw = random.Random(name)
        with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as out:
            for _ in range(60):
                out.write(json.dumps({"text": " ".join(draw.choices(words.split(), k=120))}) + "\n")
        lines.append(f"  - {{name: {name}, files: [{name}.jsonl], source: made here, licence: CC0-1.0}}")
    (folder / "corpus.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "sources.json").write_text("{}", encoding="utf-8")
    return GatheredText(folder, folder / "corpus.yaml", (), was_there=False)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> DemoCorpus:
    folder = tmp_path_factory.mktemp("corpus")
    return find_or_build(make_text(folder / "text"), folder)


def small(corpus: DemoCorpus) -> ProxySettings:
    changes = {"train_tokens": 16_384, "eval_sequences": 8, "measure_at_tokens": (8_192,)}
    return plan.proxy_settings(corpus.corpus_hash).model_copy(update=changes)


def silent(done: float, what: str) -> None:
    del done, what


def test_text_becomes_a_verified_recommendation_though_the_agent_is_killed_in_the_swarm(corpus, tmp_path):
    settings = small(corpus)
    with (
        local_service(tmp_path / "service", corpus.folder, 0) as service,
        Client(service.url, service.api_key) as client,
    ):
        study = steps.create_study(client, corpus)
        steps.queue_swarm(client, study, settings, 24)
        kill_the_agent_at_work(client, study.id, service.process.pid, tmp_path / "service")
        assert steps.wait_for_runs(client, study.id, "swarm", silent) == 24
        runs = list(client.all_runs(study.id))
        assert len(runs) == 24
        assert all(run.losses is not None and set(run.losses) == set(_WORDS) for run in runs)
        assert any(run.attempt > 1 for run in runs)

        fit = steps.fit_laws(client, study, plan.LAWS, silent)
        assert fit.runs_used == 24
        assert fit.chosen_law in plan.LAWS
        recommendation = steps.recommend(client, study, fit)
        assert sum(row.weight for row in recommendation.weights) == pytest.approx(1)
        assert all(row.epochs is not None and row.epochs <= plan.MAX_EPOCHS + 1e-6 for row in recommendation.weights)

        verification = steps.verify(client, study, recommendation, settings, [1, 2, 3], silent)
        assert verification.done
        assert {arm.name: arm.seeds_done for arm in verification.arms} == {"recommended": 3, "uniform": 3, "natural": 3}
        # Runs of the verification never enter a fit.
        assert steps.fit_laws(client, study, ["mean"], silent).runs_used == 24

        results = steps.Results(study, settings, 24, fit, recommendation, verification)
        printed = io.StringIO()
        report.show(Console(file=printed, width=140), corpus, results)
        assert all(word in printed.getvalue() for word in (*_WORDS, "Recommended against natural", fit.chosen_law))
        report.write_document(tmp_path / "report.json", corpus, results, {"all": 1.0})
        assert json.loads((tmp_path / "report.json").read_text())["fit"]["chosen_law"] == fit.chosen_law
        pid = service.process.pid
        below = descendants_of(pid)
        assert below
    assert not any(alive(process) for process in [pid, *below])


def kill_the_agent_at_work(client: Client, study_id: UUID, service_pid: int, folder: Path) -> None:
    """Kill one of the agents while it holds runs whose results neither lie in its spool nor are on their way."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for run in client.all_runs(study_id, RunState.LEASED):
            assert run.agent_id is not None
            agent = int(client.get_agent(run.agent_id).name.rpartition("-")[2])  # named by host and process
            assert agent in descendants_of(service_pid)
            os.kill(agent, signal.SIGSTOP)
            time.sleep(0.5)  # what was on its way has arrived
            waiting = any(run.id.hex in path.name.replace("-", "") for path in folder.rglob("reports/*.json"))
            if client.get_run(run.id).state is RunState.LEASED and not waiting:
                os.kill(agent, signal.SIGKILL)
                return
            os.kill(agent, signal.SIGCONT)
        time.sleep(0.02)
    pytest.fail("no agent ever held a run")


def test_a_taken_port_is_refused_before_any_work(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "app.cli", "demo", "--folder", str(tmp_path / "demo"), "--port", str(port)]
        refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"mixwright: port {port} on 127.0.0.1 cannot be used")
    assert refused.stderr.count("\n") == 1
    assert not (tmp_path / "demo").exists()


def test_a_killed_demo_leaves_no_process_behind(corpus, tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from app.demo.local_service import local_service\n"
        "with local_service(Path(sys.argv[1]), Path(sys.argv[2]), 0) as s:\n"
        "    print(s.process.pid, flush=True); time.sleep(600)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "service"), str(corpus.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        service = int(demo.stdout.readline())
        below = [service, *descendants_of(service)]
        assert len(below) >= 3  # the service, its worker, its agent
        demo.kill()
    assert soon(lambda: not any(alive(pid) for pid in below)), [pid for pid in below if alive(pid)]
