"""What can go wrong while the demo's text is gathered."""

from __future__ import annotations

from app.errors import ServiceError


class DemoTextMissing(ServiceError):
    """The real text of the demo is not there in full."""


class DemoFailed(ServiceError):
    """The demo could not be finished."""
