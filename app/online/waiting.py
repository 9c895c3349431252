"""Waiting for a fit or a recommendation at the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import typer

from app import terminal
from app.client import Client, JobFailed
from app.schemas.fits import FitRead
from app.schemas.jobs import JobProgress, JobState
from app.schemas.recommendations import RecommendationRead


def finished_fit(client: Client, fit_id: UUID, quiet: bool) -> FitRead:
    """The fit, once it has succeeded. Ctrl-C leaves it to the service.

    Raises:
        JobFailed: with the reason.
    """
    _follow(client.watch_fit(fit_id), "Fitting laws", f"fit {fit_id}", f"mixwright fits show {fit_id}", quiet)
    fit = client.get_fit(fit_id)
    _check("fit", fit)
    return fit


def finished_recommendation(client: Client, recommendation_id: UUID, quiet: bool) -> RecommendationRead:
    """The recommendation, once it has succeeded. Ctrl-C leaves it to the service.

    Raises:
        JobFailed: with the reason.
    """
    _follow(
        client.watch_recommendation(recommendation_id),
        "Recommending",
        f"recommendation {recommendation_id}",
        f"mixwright recommendations show {recommendation_id}",
        quiet,
    )
    made = client.get_recommendation(recommendation_id)
    _check("recommendation", made)
    return made


def _follow(stream: Iterator[JobProgress], title: str, what: str, look: str, quiet: bool) -> None:
    try:
        with terminal.progress(title, quiet=quiet) as on_progress:
            for now in stream:
                waits = now.state is JobState.QUEUED
                on_progress(now.progress, "waits for a worker" if waits else now.message or str(now.state))
    except KeyboardInterrupt:
        typer.echo(f"mixwright: {what} goes on in the service; look at it with: {look}", err=True)
        raise


def _check(kind: str, job: FitRead | RecommendationRead) -> None:
    if job.state is not JobState.SUCCEEDED:
        raise JobFailed(f"{kind} {job.id} {job.state}: {job.error or 'no reason given'}")
