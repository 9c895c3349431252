"""Runs and agents as people read them."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, Field
from rich.console import Console

from app.loss_units import words
from app.online.output import count, mixture, table, when
from app.schemas.agents import AgentRead
from app.schemas.run_fidelity import RunFidelity
from app.schemas.runs import AttemptRead, RunRead, RunsCreated, RunState
from app.schemas.studies import RunsWithoutAgent
from app.terminal import number, say

RUN_COLUMNS = ("id", "state", "name", "purpose", ">params", ">tokens", ">targets measured", "source", "ended")
AGENT_COLUMNS = ("id", "name", "state", "host", "device", ">corpora", ">runs", "last seen")
LOSS_COLUMNS = ("target", ">value", ">standard error", "unit", ">also")
_ERROR_LENGTH = 200
_MOST_NAMED = 5


class RunStory(BaseModel):
    """A run and each attempt at it."""

    run: RunRead
    units: dict[str, str] = Field(description="of the targets of its study")
    attempts: list[AttemptRead]


def show_created(console: Console, made: RunsCreated, study: str) -> None:
    """What was queued, and what the study had already."""
    say(console, f"Queued {len(made.runs)} runs in study {study}.")
    if made.skipped:
        named = ", ".join(f"{one.run_id} ({one.state})" for one in made.skipped[:_MOST_NAMED])
        more = ", ..." if len(made.skipped) > _MOST_NAMED else ""
        say(
            console,
            f"Skipped {len(made.skipped)} that the study has already: {named}{more}. Use --repeat to queue them again, "
            "or --train-seed to train them with another seed.",
        )


def about_waiting(without_agent: Sequence[RunsWithoutAgent]) -> list[str]:
    """Which queued runs nobody would claim at present."""
    return [
        f"{row.runs} queued runs wait for an agent with the corpus {row.corpus_hash}: none that is alive and takes "
        "new runs of this study has it."
        for row in without_agent
    ]


def run_row(run: RunRead) -> Sequence[str]:
    """A run in a list."""
    name = run.label or run.external_id or "-"
    state = f"{run.state}, excluded" if run.exclude_from_fit else str(run.state)
    sizes = (count(run.model_params), count(run.train_tokens), str(len(run.losses or {})))
    source = str(run.source) if run.fidelity is RunFidelity.TRAINED else f"{run.source}, {run.fidelity}"
    if run.stages is not None:
        source += f", {len(run.stages)} stages"
    return (str(run.id), state, name, run.purpose, *sizes, source, when(run.finished_at))


def show_run(console: Console, run: RunRead) -> None:
    """A run after a change."""
    excluded = ", excluded from fits" if run.exclude_from_fit else ""
    say(console, f"Run {run.id}{f' ({run.label})' if run.label else ''} is {run.state}{excluded}.")


def show_story(console: Console, story: RunStory) -> None:
    """Everything of a run."""
    run = story.run
    show_run(console, run)
    say(console, f"Mixture: {mixture(run.weights, most=len(run.weights))}; seed {run.seed}; purpose {run.purpose}.")
    _show_stages(console, run)
    sizes = f"{count(run.model_params)} parameters, {count(run.train_tokens)} tokens"
    say(console, f"{sizes}; {count(run.progress_tokens)} trained; attempt {run.attempt} of {run.max_attempts}.")
    if run.fidelity is RunFidelity.MERGED:
        say(console, "Fidelity merged: its losses are those of averaged models; nothing was trained on this mixture.")
    if run.external_id:
        say(console, f"Known elsewhere as {run.external_id}.")
    if run.error:
        say(console, f"{'Why' if run.state is RunState.PRUNED else 'Error'}: {run.error}")
    if run.losses:
        console.print(table(LOSS_COLUMNS, (_loss(story, name) for name in run.losses), "Measured"))
    if story.attempts:
        console.print(table(("attempt", "agent", "outcome", "from", "to", "reason"), map(_attempt, story.attempts)))


def _show_stages(console: Console, run: RunRead) -> None:
    if run.stages is None:
        return
    say(console, f"The mixture is the mean of {len(run.stages)} stages; fits leave the run out unless they ask for it.")
    for name, stages in (("Stage", run.stages), ("Trained", run.realised_stages or ())):
        for stage in stages:
            shares = mixture(stage.weights, most=len(stage.weights))
            say(console, f"{name} {count(stage.from_token)} to {count(stage.to_token)} tokens: {shares}.")


def _loss(story: RunStory, name: str) -> Sequence[str]:
    """A target in its unit, and the same loss in the other unit where the run measured both."""
    assert story.run.losses is not None
    one, unit = story.run.losses[name], story.units.get(name, "")
    other = {"bits_per_byte": "nats_per_token", "nats_per_token": "bits_per_byte"}.get(unit)
    there = (getattr(story.run, other) or {}).get(name) if other else None
    also = f"{number(there.value)} {words(other)}" if other and there else "-"
    return (name, number(one.value), number(one.stderr), words(unit) or "-", also)


def _attempt(attempt: AttemptRead) -> Sequence[str]:
    reach = (when(attempt.started_at), when(attempt.ended_at))
    reason = (attempt.reason or "-")[:_ERROR_LENGTH]
    return (str(attempt.attempt), str(attempt.agent_id), str(attempt.outcome or "in work"), *reach, reason)


def agent_row(agent: AgentRead) -> Sequence[str]:
    """An agent in a list."""
    state = f"{agent.state}, draining" if agent.draining else str(agent.state)
    cells = (str(agent.id), agent.name, state, agent.hostname or "-", agent.device or "-")
    return (*cells, str(len(agent.corpus_hashes)), str(len(agent.run_ids)), when(agent.last_seen_at))


def show_agent(console: Console, agent: AgentRead) -> None:
    """An agent after a change."""
    what = "gets no new runs" if agent.draining else "gets runs"
    say(console, f"Agent {agent.name} ({agent.id}) {what}; it holds {len(agent.run_ids)}.")
