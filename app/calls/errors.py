"""What can go wrong with a call. Every one of them is a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command line knows these errors on every start; the bodies are slow to load
    from app.schemas.common import Problem


class ClientError(Exception):
    """A call did not give an answer."""


class Unreachable(ClientError):
    """The service cannot be reached."""


class Refused(ClientError):
    """The service refused the call; ``problem`` is its body."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.detail)

    @property
    def status(self) -> int:
        return self.problem.status


class NotFound(Refused):
    """There is no such thing."""


class Conflict(Refused):
    """The call does not fit the present state."""


class Changed(Refused):
    """The thing has changed since it was read."""


class NotAllowed(Refused):
    """The key is missing, unknown, or not for this call."""
