"""What can go wrong in the service. The first docstring line of an error is its title and default message.

:data:`STATUS` is the one table that maps errors to HTTP status codes. Bodies follow RFC 9457 and are written by
``app/problems.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mixers.errors import MixError

_MOST_LISTED = 20


@dataclass(frozen=True)
class FieldError:
    """One wrong field: where it stands, what was wrong, and what would be accepted."""

    field: str
    message: str
    accepted: str | None = None

    def as_dict(self) -> dict[str, str]:
        body = {"field": self.field, "message": self.message}
        return body if self.accepted is None else body | {"accepted": self.accepted}


class ServiceError(Exception):
    """The service could not do what was asked."""

    def __init__(self, detail: str | None = None, *, errors: Sequence[FieldError] = ()) -> None:
        self.detail = detail or title_of(type(self))
        self.errors = tuple(errors)
        super().__init__(self.detail)


class RefusedToStart(ServiceError):
    """The service refuses to start with these settings."""


class NewerDatabase(RefusedToStart):
    """The database was written by a newer version of Mixwright."""


class PortTaken(RefusedToStart):
    """The port is taken by another process."""


class NotFound(ServiceError):
    """There is no such thing."""


class InvalidRequest(ServiceError):
    """A field of the request is wrong."""

    @classmethod
    def of(cls, field: str, message: str, accepted: str | None = None) -> InvalidRequest:
        """An error of one field, whose sentence is also the detail."""
        sentence = message if accepted is None else f"{message}; accepted: {accepted}"
        return cls(f"{field}: {sentence}", errors=[FieldError(field, message, accepted)])


class Conflict(ServiceError):
    """The request does not fit the present state."""


class LeaseLost(Conflict):
    """The run is not held by this attempt any more; stop it and report nothing."""


class NotAuthenticated(ServiceError):
    """This call needs an API key: send 'Authorization: Bearer KEY'."""


class Forbidden(ServiceError):
    """The key does not allow this call."""


class TooManyRequests(ServiceError):
    """Too many calls in a short time; wait as long as Retry-After says."""

    def __init__(self, detail: str | None = None, *, retry_after_seconds: int = 1) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class PreconditionRequired(ServiceError):
    """A change must name the version that it changes: send If-Match with the ETag that you read."""


class PreconditionFailed(ServiceError):
    """The thing has changed since it was read."""


class CallRepeated(ServiceError):
    """A call with this Idempotency-Key has been carried out before."""


class WrongOrigin(ServiceError):
    """A page of another site may not change anything here."""


class WrongHost(ServiceError):
    """This server does not answer for the host that was asked for."""


class BodyTooLarge(ServiceError):
    """The body of the request is too large."""


class DatabaseUnavailable(ServiceError):
    """The database does not answer at the moment; try again."""


class StorageFull(ServiceError):
    """The disk of the database is full; nothing was stored."""


class TrackerUnavailable(ServiceError):
    """The tracker that was asked does not answer as it should."""


# An error takes the status of the nearest class in its inheritance.
STATUS: dict[type[Exception], int] = {
    ServiceError: 500,
    NotAuthenticated: 401,
    Forbidden: 403,
    WrongOrigin: 403,
    NotFound: 404,
    Conflict: 409,
    CallRepeated: 409,
    PreconditionFailed: 412,
    BodyTooLarge: 413,
    WrongHost: 421,
    InvalidRequest: 422,
    MixError: 422,
    PreconditionRequired: 428,
    TooManyRequests: 429,
    TrackerUnavailable: 502,
    DatabaseUnavailable: 503,
    StorageFull: 507,
}


def title_of(kind: type[Exception]) -> str:
    """The first line of the docstring of an error."""
    return (kind.__doc__ or kind.__name__).strip().splitlines()[0]


def status_of(error: Exception) -> int:
    """The HTTP status of an error; 500 for one that the table does not know."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def listed(names: Sequence[str]) -> str:
    """What would be accepted, cut short where it is much."""
    shown = ", ".join(names[:_MOST_LISTED])
    return shown if len(names) <= _MOST_LISTED else f"{shown}, ... ({len(names)} in all)"
