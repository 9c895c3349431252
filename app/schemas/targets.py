"""Bodies: targets of a study."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import Field

from app.schemas.common import Answer, Body, NonNegative


class TargetPatch(Body):
    """What is left out or null stays as it is. Direction and definition version are fixed once the target is measured,
    the unit once an agent has measured it.

    The name never changes: it is how runs and agents report values.
    """

    unit: str | None = Field(default=None, max_length=50)
    direction: Literal["minimize", "maximize"] | None = None
    weight: NonNegative | None = None
    family: str | None = Field(default=None, max_length=200)
    definition: str | None = Field(default=None, max_length=10_000)
    definition_version: str | None = Field(default=None, max_length=50)


class TargetRead(Answer):
    id: UUID
    study_id: UUID
    name: str
    unit: str
    direction: Literal["minimize", "maximize"]
    weight: float
    family: str
    definition: str
    definition_version: str
