"""Trainer formats that a recommendation can be written in: one file a format, one line in :data:`EXPORTS`."""

from __future__ import annotations

from app.formats.exports.base import ExportFormat

EXPORTS: dict[str, ExportFormat] = {each.name: each for each in ()}
