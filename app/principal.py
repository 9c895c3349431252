"""Who makes a call, and what a caller may do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class Scope(StrEnum):
    """What a key is for."""

    READ = "read"  # look at everything
    WRITE = "write"  # and change it; includes read
    AGENT = "agent"  # claim runs and report on them, nothing else
    ADMIN = "admin"  # everything, keys included


_INCLUDED = {Scope.WRITE: {Scope.READ}, Scope.ADMIN: set(Scope)}


@dataclass(frozen=True)
class Principal:
    """A caller. ``key_id`` is None for the key of the settings and for the service itself; ``study_id`` binds it."""

    name: str
    scopes: frozenset[Scope]
    key_id: UUID | None = None
    study_id: UUID | None = None

    def may(self, scope: Scope) -> bool:
        """Whether one of its scopes is ``scope`` or includes it."""
        return scope in self.scopes or any(scope in _INCLUDED.get(own, ()) for own in self.scopes)


# What the service does by itself: fits, schedules, sweeps.
SERVICE = Principal("mixwright", frozenset({Scope.ADMIN}))
# Who has the key of the settings.
OWNER = Principal("owner", frozenset({Scope.ADMIN}))
# Who calls an address that is open to all.
NOBODY = Principal("nobody", frozenset())
