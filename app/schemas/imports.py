"""Bodies: imports and their reports.

A report says of every run of the source what became of it: taken, updated, already there, different, or left out and
why. It never lists more than the first ids of each kind, however large the source is.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from app.schemas.common import Answer, Body, Name
from app.schemas.names import NewName
from app.schemas.skip_reasons import SkipReason
from app.schemas.studies import Constraints, Objective

# How many ids of a kind a report lists.
FIRST_IDS = 20


class ImportSettings(Body):
    """What to import and how. Files come beside it, as parts named ``files``."""

    format: str = Field(min_length=1, max_length=50, description="as /v1/import-formats lists them")
    options: dict[str, Any] = Field(default={}, description="of the format; /v1/import-formats describes them")
    dry_run: bool = Field(default=False, description="do everything but store")
    update: bool = Field(default=False, description="replace stored runs that differ from the source")
    strict: bool = Field(
        default=False, description="refuse the import when a finished run cannot be taken as it stands"
    )
    id_prefix: str = Field(default="", max_length=100, description="put before every id of the source")
    model_params: int | None = Field(default=None, ge=1, le=10**15, description="of runs that do not say")
    train_tokens: int | None = Field(default=None, ge=1, le=10**18, description="of runs that do not say")
    rename_domains: dict[str, Name] = Field(default={}, max_length=1000, description="{name in the source: ours}")
    rename_targets: dict[str, Name] = Field(default={}, max_length=2000, description="{name in the source: ours}")


class StudyImport(ImportSettings):
    """An import that makes its study: domains, targets, priors and bounds are those of the source."""

    create: Literal[True] = Field(default=True, description="a study is made from the source")
    name: NewName
    description: str = Field(default="", max_length=10_000)
    objective: Objective = Objective()
    constraints: Constraints | None = Field(default=None, description="those of the source when left out")


class Listed(Answer):
    """A number of runs and the first of their ids."""

    count: int = 0
    first_ids: Annotated[list[str], Field(max_length=FIRST_IDS)] = []


class Skipped(Listed):
    """Runs that were left out for one reason. ``detail`` is the state that they are in, or says it of the first."""

    reason: SkipReason
    detail: str


class Renormalised(Answer):
    """Runs whose weights missed a sum of 1 and were divided by it.

    ``warned`` are those that missed it by more than rounding explains. ``worst_sum`` is the sum furthest from 1.
    """

    count: int = 0
    worst_sum: float | None = None
    worst_id: str | None = None
    warned: Listed = Listed()


class ScaleSeen(Answer):
    model_params: int | None
    train_tokens: int | None
    runs: int


class Suspicious(Listed):
    """Values of a target that somebody should look at."""

    target: str
    kind: Literal["not_finite", "constant", "negative_loss", "negative_stderr"]


class ImportReport(Answer):
    """What became of the runs of a source.

    ``id`` is null for a dry run, and ``study_id`` for a dry run that would make its study.
    """

    id: UUID | None
    study_id: UUID | None
    format: str
    source: str
    dry_run: bool
    created_at: datetime
    runs_read: int = Field(description="runs of the source, each counted once")
    taken: int = Field(description="new runs, or runs that got new measurements")
    updated: int = Field(description="stored runs that were replaced")
    already_there: int = Field(description="stored before with the same values")
    differs: Listed = Field(description="stored before with other values, and left as they are")
    duplicates: Listed = Field(description="told twice with the same values, and taken once")
    skipped: list[Skipped]
    renormalised: Renormalised
    unknown_domains: list[str] = Field(description="of the source, not of the study")
    unknown_targets: list[str] = Field(description="of the source, not of the study; their values are not taken")
    missing_metrics: dict[str, int] = Field(description="{target: runs without a value of it}")
    scales: list[ScaleSeen] = Field(description="the most frequent ones")
    scale_count: int
    suspicious: list[Suspicious]
    hints: list[str] = Field(description="what may be wrong though nothing was refused")
    notes: list[str] = Field(description="what was assumed")


class ImportFormatRead(Answer):
    name: str
    title: str
    options: dict[str, Any] = Field(description="JSON Schema of its options")


class ImportFormats(Answer):
    items: list[ImportFormatRead]
