"""The main job as a training pipeline would do it: every step is a call of the HTTP API.

study -> swarm -> proxy runs -> fit -> recommendation -> verification
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from app.client import Client
from app.demo import plan
from app.demo.corpus import DemoCorpus
from app.demo.errors import DemoFailed
from app.schemas.fits import FitCreate, FitRead
from app.schemas.recommendations import RecommendationCreate, RecommendationRead, VerificationCreate, VerificationRead
from app.schemas.runs import RunCreate, RunState, SuggestionCreate
from app.schemas.studies import Constraints, Objective, StudyCreate, StudyRead, TargetIn
from app.terminal import OnProgress
from proxy_training.spec import ProxySettings

_ASK_EVERY_SECONDS = 0.5
_OPEN = (RunState.QUEUED, RunState.LEASED)
# A run that failed is worth a word; more than these and the swarm says nothing.
_MAX_FAILED_SHARE = 0.2


@dataclass(frozen=True)
class Results:
    """What the main job gave."""

    study: StudyRead
    settings: ProxySettings
    runs: int
    fit: FitRead
    recommendation: RecommendationRead
    verification: VerificationRead


def cancel_leftovers(client: Client) -> int:
    """Take back the waiting runs of demos that were interrupted, so that the agent works for this one."""
    cancelled = 0
    cursor: str | None = None
    while True:
        page = client.list_studies(cursor=cursor)
        for study in page.items:
            if study.name == plan.STUDY_NAME:
                for run in [run for state in _OPEN for run in client.all_runs(study.id, state)]:
                    client.cancel_run(run.id)
                    cancelled += 1
        cursor = page.next_cursor
        if cursor is None:
            return cancelled


def create_study(client: Client, corpus: DemoCorpus) -> StudyRead:
    """Domains with their tokens and licences, one loss target a domain, the weights of the plan."""
    targets = [
        TargetIn(name=domain.name, unit="bits_per_byte", weight=plan.TARGET_WEIGHTS[domain.name])
        for domain in corpus.domains
    ]
    return client.create_study(
        StudyCreate(
            name=plan.STUDY_NAME,
            description=plan.STUDY_DESCRIPTION,
            domains=list(corpus.domains),
            targets=targets,
            objective=Objective(kl_to_prior=plan.KL_TO_PRIOR),
            constraints=Constraints(
                target_tokens=int(plan.TARGET_TOKENS_PER_AVAILABLE * corpus.available_tokens),
                max_epochs=plan.MAX_EPOCHS,
            ),
        )
    )


def queue_swarm(client: Client, study: StudyRead, settings: ProxySettings, runs: int) -> None:
    """Ask for a swarm of mixtures and queue a proxy run for each; all with one seed (common random numbers)."""
    swarm = client.suggest(study.id, SuggestionCreate(count=runs, design="dirichlet", seed=plan.SWARM_SEED))
    client.create_runs(
        study.id,
        [
            RunCreate(weights=suggestion.weights, settings=settings, seed=plan.SWARM_SEED, label=f"swarm-{i:03d}")
            for i, suggestion in enumerate(swarm.suggestions)
        ],
    )


def wait_for_runs(client: Client, study_id: UUID, purpose: str, on_progress: OnProgress) -> int:
    """Wait until no run of ``purpose`` is open; the number that succeeded.

    Raises:
        DemoFailed: too many runs failed.
    """
    while True:
        runs = list(client.all_runs(study_id, purpose=purpose))
        done = sum(run.state not in _OPEN for run in runs)
        tokens = sum(run.progress_tokens if run.state in _OPEN else run.train_tokens or 0 for run in runs)
        asked = sum(run.train_tokens or 0 for run in runs)
        on_progress(tokens / max(asked, 1), f"{done} of {len(runs)} runs")
        if done == len(runs):
            break
        time.sleep(_ASK_EVERY_SECONDS)
    failed = [run for run in runs if run.state is not RunState.SUCCEEDED]
    if len(failed) > _MAX_FAILED_SHARE * len(runs):
        raise DemoFailed(f"{len(failed)} of {len(runs)} {purpose} runs failed; the first: {failed[0].error}")
    return len(runs) - len(failed)


def fit_laws(client: Client, study: StudyRead, laws: Sequence[str], on_progress: OnProgress) -> FitRead:
    """Fit every law out of fold; the service chooses."""
    fit = client.create_fit(study.id, FitCreate(laws=list(laws)))
    return client.wait_for_fit(fit.id, on_progress=lambda done: on_progress(done, "out of fold"))


def recommend(client: Client, study: StudyRead, fit: FitRead) -> RecommendationRead:
    """The best weights under the study's own objective and constraints."""
    created = client.create_recommendation(study.id, RecommendationCreate(fit_id=fit.id))
    return client.wait_for_recommendation(created.id)


def verify(
    client: Client,
    study: StudyRead,
    recommendation: RecommendationRead,
    settings: ProxySettings,
    seeds: Sequence[int],
    on_progress: OnProgress,
) -> VerificationRead:
    """Train the recommended mixture, uniform and natural with each seed, and compare them pair by pair."""
    client.create_verification(recommendation.id, VerificationCreate(settings=settings, seeds=list(seeds)))
    wait_for_runs(client, study.id, "verification", on_progress)
    return client.get_verification(recommendation.id)
