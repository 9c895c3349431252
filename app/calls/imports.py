"""Calls: runs taken from files and trackers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO
from uuid import UUID

from app.calls.transport import Transport
from app.schemas.common import Page
from app.schemas.imports import ImportFormats, ImportReport, ImportSettings, StudyImport

# Of the connection, while a large file is read in and checked.
_IMPORT_SECONDS = 900.0


class ImportCalls(Transport):
    """The calls of this resource; one method a route."""

    def list_import_formats(self) -> ImportFormats:
        return self._get("/v1/import-formats", ImportFormats)

    def import_runs(self, study_id: UUID, settings: ImportSettings, files: Sequence[Path] = ()) -> ImportReport:
        """Take finished runs into a study. Importing the same source twice changes nothing.

        Args:
            files: what the format reads; none for a tracker, which the service asks itself.
        """
        return self._import(f"/v1/studies/{study_id}/imports", settings, files)

    def import_study(self, settings: StudyImport, files: Sequence[Path] = ()) -> ImportReport:
        """Make a study from a source, with its finished runs."""
        return self._import("/v1/imports", settings, files)

    def list_imports(self, study_id: UUID, limit: int = 100, cursor: str | None = None) -> Page[ImportReport]:
        return self._get(f"/v1/studies/{study_id}/imports", Page[ImportReport], limit=limit, cursor=cursor)

    def get_import(self, import_id: UUID) -> ImportReport:
        return self._get(f"/v1/imports/{import_id}", ImportReport)

    def _import(self, path: str, settings: ImportSettings, files: Sequence[Path]) -> ImportReport:
        if not files:
            return self._post(path, settings, ImportReport)
        with _opened(files) as parts:
            fields = {"settings": settings.model_dump_json()}
            return self._upload(path, parts, fields, ImportReport, _IMPORT_SECONDS)


@contextmanager
def _opened(files: Sequence[Path]) -> Iterator[list[tuple[str, tuple[str, IO[bytes]]]]]:
    with ExitStack() as stack:
        yield [("files", (path.name, stack.enter_context(path.open("rb")))) for path in files]
