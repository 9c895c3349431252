"""Bodies: trainer formats and the files of a recommendation."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import Field

from app.schemas.common import Answer
from app.schemas.mixture_choice import MixtureChoice

OptionValue = bool | int | float | str


class ExportOptionRead(Answer):
    """A query parameter that a format takes; one without a default must be given."""

    name: str
    type: Literal["boolean", "integer", "number", "string"]
    default: OptionValue | None
    about: str


class ExportFormatRead(Answer):
    name: str
    title: str
    trainer: str = Field(description="whose bindings give the paths of the domains; empty: none are needed")
    options: list[ExportOptionRead]


class ExportedFileRead(Answer):
    name: str
    text: str


class ExportRead(Answer):
    """The files of a recommendation, and what the person who uses them must know.

    ``epochs`` are the passes over each domain that all stages together imply; null where its tokens are unknown.
    """

    recommendation_id: UUID
    mixture: MixtureChoice = Field(description="the one of the recommendation that the files hold")
    format: str
    files: list[ExportedFileRead]
    notes: list[str]
    epochs: dict[str, float | None]
    dropped: list[str] = Field(description="domains that have no weight, at least in one stage")
    options: dict[str, OptionValue]
