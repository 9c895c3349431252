"""Calls: recommendations in the formats of trainers."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote
from uuid import UUID

from app.calls.answers import Download
from app.calls.transport import Transport
from app.schemas.common import Page
from app.schemas.exports import ExportFormatRead, ExportRead, OptionValue
from app.schemas.mixture_choice import WantedMixture


class ExportCalls(Transport):
    """The calls of this resource; one method a route."""

    def list_export_formats(self) -> Page[ExportFormatRead]:
        return self._get("/v1/exports", Page[ExportFormatRead])

    def export(
        self,
        recommendation_id: UUID,
        format_name: str,
        options: Mapping[str, OptionValue] | None = None,
        mixture: WantedMixture | None = None,
    ) -> ExportRead:
        """The files as text, with what must be known of them. Options are those of the format.

        Args:
            mixture: when None the adopted one, and the recommended one where this recommendation is not adopted.
        """
        return self._get(_export(recommendation_id, format_name), ExportRead, mixture=mixture, **_texts(options))

    def download_export(
        self,
        recommendation_id: UUID,
        format_name: str,
        options: Mapping[str, OptionValue] | None = None,
        mixture: WantedMixture | None = None,
    ) -> Download:
        """The file itself, or an archive where there are several."""
        path = _export(recommendation_id, format_name)
        return self._download(path, download="true", mixture=mixture, **_texts(options))


def _export(recommendation_id: UUID, format_name: str) -> str:
    return f"/v1/recommendations/{recommendation_id}/exports/{quote(format_name, safe='')}"


def _texts(options: Mapping[str, OptionValue] | None) -> dict[str, str]:
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in (options or {}).items()
    }
