"""Bodies: where a trainer finds the domains."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field, FiniteFloat

from app.schemas.common import Answer, Body, Name

DomainPath = Annotated[str, Field(min_length=1, max_length=4000)]
OptionValue = bool | int | FiniteFloat | Annotated[str, Field(max_length=4000)]


class BindingPut(Body):
    """``paths`` of each domain as the trainer takes them; ``options`` are defaults for exports to this trainer."""

    paths: dict[Name, Annotated[list[DomainPath], Field(min_length=1, max_length=10_000)]]
    options: dict[Name, OptionValue] = Field(default={}, max_length=100)


class BindingRead(Answer):
    domain_set_id: UUID
    trainer: str
    paths: dict[str, list[str]]
    options: dict[str, OptionValue]
