"""Trainer formats that a recommendation can be written in: one file a format, one line in :data:`EXPORTS`."""

from __future__ import annotations

from app.formats.exports.base import ExportFormat
from app.formats.exports.levanter import LevanterWeights
from app.formats.exports.maxtext import MaxTextMixture
from app.formats.exports.megatron import MegatronBlend
from app.formats.exports.mosaic import MosaicStreams
from app.formats.exports.olmix import OlmixMix
from app.formats.exports.olmo_core import OlmoCoreMixture

EXPORTS: dict[str, ExportFormat] = {
    each.name: each
    for each in (
        MegatronBlend(),
        OlmoCoreMixture(),
        OlmixMix(),
        LevanterWeights(),
        MaxTextMixture(),
        MosaicStreams(),
    )
}
