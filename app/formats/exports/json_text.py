"""JSON files, which have no comments: what stands above the weights elsewhere is an object here.

Where the reader skips keys that it does not know, the object stands under :data:`SIBLING_KEY`; where every key means a
data set, it is a second file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from app.formats.exports.base import ExportedFile, Plan

SIBLING_KEY = "_mixwright"


def to_json(document: Mapping[str, Any]) -> str:
    """The document, indented, with floats that parse back to themselves."""
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def described(plan: Plan, notes: Sequence[str]) -> dict[str, Any]:
    """Provenance, epochs of every domain over the whole plan (null: unknown), and the notes."""
    return {"provenance": dict(plan.provenance), "epochs": plan.epochs(), "notes": list(notes)}


def beside(name: str, plan: Plan, notes: Sequence[str]) -> ExportedFile:
    """A second file that says what the file ``name`` has no room for."""
    return ExportedFile(f"{name}.provenance.json", to_json({"file": name, **described(plan, notes)}))
