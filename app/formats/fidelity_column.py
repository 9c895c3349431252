"""``fidelity`` of a run in tables and JSON lines: ``trained``, also where nothing is told, or ``merged``."""

from __future__ import annotations

from app.formats.errors import FormatError
from app.schemas.run_fidelity import RunFidelity

COLUMN = "fidelity"


def fidelity_of(text: str) -> RunFidelity:
    """The fidelity of a cell or a field.

    Raises:
        FormatError: it is none, without a place.
    """
    try:
        return RunFidelity(text) if text else RunFidelity.TRAINED
    except ValueError:
        accepted = ", ".join(RunFidelity)
        raise FormatError(f"{text[:40]!r} is no fidelity; accepted: {accepted}, or nothing for a trained run") from None
