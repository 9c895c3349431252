"""A real agent trains a stack for a real service, whose rule gives up the one run that learns nothing of the target."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from app.client import Client
from app.schemas.runs import AttemptOutcome, RunCreate, RunState
from app.schemas.studies import DomainIn, StudyCreate, TargetIn
from proxy_training import leases
from proxy_training.agent import AgentOptions
from proxy_training.agent_process import AgentSetup, run_agent
from proxy_training.batch_watcher import BatchWatcher
from proxy_training.corpus_read import Corpus
from proxy_training.devices import GPU_VARIABLE
from proxy_training.spec import EarlyStopping, TrajectoryPoint
from proxy_training.stopping import StopRequest
from proxy_training.training_options import TrainingOptions
from tests.dashboard.conftest import KEY, running
from tests.proxy_training.text_corpora import make_corpus, texts
from tests.proxy_training.training_cases import STEP_TOKENS, tiny_settings
from tests.waiting import soon

STEPS = 40
HALF, END = STEPS // 2 * STEP_TOKENS, STEPS * STEP_TOKENS
# The target is the loss on "wanted"; the last of these mixtures has nothing of it.
SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.0)
RULE = EarlyStopping(after_fraction=0.5, quantile=0.9, min_runs=5)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder: Path = tmp_path_factory.mktemp("hopeless")
    domains = {"wanted": texts(0, 40), "other": texts(1, 40)}
    return make_corpus(folder, domains, context=16, validation_fraction=0.2)


def agent_of(url: str, corpus: Corpus, spool: Path) -> AgentSetup:
    """An agent that trains all runs as one stack in its own process, and leaves when the queue is empty."""
    options = AgentOptions(max_stack=len(SHARES), exit_when_idle_seconds=0.2)
    return AgentSetup(url, KEY, "trainer", spool, options, TrainingOptions(corpus=[corpus.folder]))


def train_on_the_cpu_and_wait_for_the_judgement(monkeypatch: pytest.MonkeyPatch, run_id: UUID) -> None:
    """Training stops, once the run is measured, until the agent knows that it is given up: runs of seconds would be
    over before their points have travelled."""
    tell = BatchWatcher.measured

    def measured(watcher: BatchWatcher, told: str, point: TrajectoryPoint) -> None:
        tell(watcher, told, point)
        if told == str(run_id):
            soon(lambda: told in watcher.unwanted(), 10)

    monkeypatch.setattr(BatchWatcher, "measured", measured)
    monkeypatch.setenv(GPU_VARIABLE, "")
    monkeypatch.setattr(leases, "_REPORT_EVERY_SECONDS", 0.02)


def test_the_agent_drops_the_hopeless_run_at_half_and_trains_the_others_to_their_end(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = tiny_settings(corpus, STEPS, measure_at_tokens=(HALF,), early_stopping=RULE)
    with running(tmp_path / "service") as service, Client(service.url, KEY) as client:
        domains = [DomainIn(name=name) for name in corpus.domains]
        study = client.create_study(StudyCreate(name="one", domains=domains, targets=[TargetIn(name="wanted")]))
        wanted = [RunCreate(weights={"wanted": share, "other": 1 - share}, settings=settings) for share in SHARES]
        queued = [run.id for run in client.create_runs(study.id, wanted).runs]
        train_on_the_cpu_and_wait_for_the_judgement(monkeypatch, queued[-1])
        run_agent(agent_of(service.url, corpus, tmp_path / "spool"), StopRequest())

        *others, hopeless = (client.get_run(run_id) for run_id in queued)
        assert [(run.state, run.progress_tokens) for run in others] == [(RunState.SUCCEEDED, END)] * 5
        assert (hopeless.state, hopeless.progress_tokens, hopeless.losses) == (RunState.PRUNED, HALF, None)
        point = client.get_trajectory(hopeless.id).points[-1]
        assert point.train_tokens == HALF
        assert hopeless.error is not None
        start = f"stopped early: after {HALF} tokens its objective is {point.losses['wanted'].value:.6g}, worse than"
        assert hopeless.error.startswith(start)
        assert hopeless.error.endswith("the quantile 0.9 of 5 other runs with equal settings")
        assert f"Run {hopeless.id} is ours no more" in caplog.text
        (attempt,) = client.list_attempts(hopeless.id).items
        assert (attempt.outcome, attempt.reason) == (AttemptOutcome.PRUNED, hopeless.error)
        # What the agent did not train of it is not paid for.
        flops = 6 * settings.model.non_embedding_params * (5 * END + HALF)
        budget = client.get_study(study.id).budget
        assert budget.spent_flops == flops
        assert budget.spent_cpu_hours > 0
        assert budget.spent_gpu_hours == 0
