"""Runs whose weights change on the way, from the queue of a real service through a real agent and back."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.client import Client
from app.schemas.runs import RunCreate, RunState
from app.schemas.stages import StageCreate
from app.schemas.studies import DomainIn, StudyCreate, TargetIn
from proxy_training.agent import AgentOptions
from proxy_training.agent_process import AgentSetup, run_agent
from proxy_training.stopping import StopRequest
from proxy_training.training_options import TrainingOptions
from tests.dashboard.conftest import KEY, running
from tests.proxy_training.text_corpora import make_corpus, texts
from tests.proxy_training.training_cases import STEP_TOKENS, tiny_settings

STEPS, TURN = 20, 15
ENGLISH, GREEK, MEAN = ({"english": share, "greek": 1 - share} for share in (1.0, 0.25, 0.8125))


def staged(*stages: tuple[int, dict[str, float]]) -> list[StageCreate]:
    """Stages that end after so many steps."""
    ends = [steps * STEP_TOKENS for steps, _ in stages]
    return [
        StageCreate(from_token=start, to_token=end, weights=weights)
        for start, end, (_, weights) in zip([0, *ends[:-1]], ends, stages, strict=True)
    ]


def test_an_agent_trains_stages_of_several_runs_in_one_stack_and_reports_each(tmp_path: Path) -> None:
    domains = {"english": texts(0, 40), "greek": texts(1, 40)}
    corpus = make_corpus(tmp_path, domains, context=16, validation_fraction=0.2)
    settings = tiny_settings(corpus, STEPS)
    late, early = staged((TURN, ENGLISH), (STEPS, GREEK)), staged((STEPS - TURN, GREEK), (STEPS, ENGLISH))
    wanted = [
        RunCreate(stages=late, settings=settings),
        RunCreate(stages=early, settings=settings),
        RunCreate(weights=MEAN, settings=settings),
    ]
    setup = TrainingOptions(corpus=[corpus.folder])
    with running(tmp_path / "service") as service, Client(service.url, KEY) as client:
        named = [DomainIn(name=name) for name in corpus.domains]
        study = client.create_study(StudyCreate(name="staged", domains=named, targets=[TargetIn(name="greek")]))
        queued = client.create_runs(study.id, wanted).runs
        assert [run.weights for run in queued] == [pytest.approx(MEAN)] * 3
        agent = AgentOptions(max_stack=len(wanted), exit_when_idle_seconds=0.2)
        run_agent(AgentSetup(service.url, KEY, "trainer", tmp_path / "spool", agent, setup), StopRequest())

        runs = [client.get_run(run.id) for run in queued]
        assert [run.state for run in runs] == [RunState.SUCCEEDED] * 3
        assert [client.list_attempts(run.id).items[0].stack_size for run in runs] == [3, 3, 3]
        for run, plan in zip(runs, (late, early), strict=False):
            assert run.stages is not None
            assert run.realised_stages is not None
            for asked, trained in zip(plan, run.realised_stages, strict=True):
                assert (trained.from_token, trained.to_token) == (asked.from_token, asked.to_token)
                # Sequences are whole, and those of a stage are 20 or 60.
                assert trained.weights == pytest.approx(asked.weights, abs=1 / 20)
            assert run.realised_weights == pytest.approx(MEAN, abs=1 / 80)
        assert runs[2].stages is None
        assert runs[2].realised_stages is None
        losses = {run.losses["greek"].value for run in runs if run.losses}
        assert len(losses) == 3, "the order in which a model sees the domains makes a difference"
        assert client.create_runs(study.id, wanted).runs == []
