"""What a kind of scheduled work is: its settings, and steps that are each one job of a worker."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy.orm import Session

from app.db import Database
from app.errors import FieldError, InvalidRequest
from app.schemas.common import Body
from app.services.fitting import OnProgress
from app.settings import Settings

Wishes = TypeVar("Wishes", bound=Body)


@dataclass(frozen=True)
class Task(Generic[Wishes]):
    """One step of one firing. ``outcome`` is what its earlier steps made; ``database`` works for the schedule."""

    database: Database
    study_id: UUID
    wishes: Wishes
    outcome: Mapping[str, Any]
    settings: Settings
    now: datetime
    on_progress: OnProgress


@dataclass(frozen=True)
class Done:
    """What a step made. With ``waits_for``, a job, another step follows when that has ended."""

    outcome: dict[str, Any] = field(default_factory=dict)
    waits_for: UUID | None = None
    message: str = ""


# Stores what a step made, in the transaction that ends its job; a commit inside is part of that transaction.
Finish = Callable[[Session], Done]


class ScheduledWork(ABC, Generic[Wishes]):
    """One kind. A new kind is one new file and one line in the registry."""

    kind: ClassVar[str]
    wishes: type[Wishes]

    def check(self, wishes: Wishes, settings: Settings) -> None:
        """Refuse at the door what would fail at every firing.

        Raises:
            InvalidRequest, MixError: naming the setting.
        """
        del wishes, settings

    @abstractmethod
    def step(self, task: Task[Wishes]) -> Finish:
        """Compute the next step. Nothing may be stored before the function that is returned is called.

        Raises:
            ServiceError, MixError: the firing fails with this sentence.
        """


def wrong_settings(exc: ValidationError, where: str) -> InvalidRequest:
    """The errors of pydantic, whose fields are below ``where``."""
    errors = [
        FieldError(".".join([where, *map(str, error["loc"])]), error["msg"].removeprefix("Value error, "))
        for error in exc.errors(include_url=False, include_input=False, include_context=False)
    ]
    return InvalidRequest(f"{errors[0].field}: {errors[0].message}", errors=errors)
