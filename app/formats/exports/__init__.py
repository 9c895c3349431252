"""Trainer formats that a recommendation can be written in: one file a format, one line in :data:`EXPORTS`."""

from __future__ import annotations

from app.formats.exports.base import ExportFormat
from app.formats.exports.doremi import DoremiExport
from app.formats.exports.energon import EnergonExport
from app.formats.exports.gpt_neox import GptNeoxExport
from app.formats.exports.hf_interleave import HfInterleaveExport
from app.formats.exports.levanter import LevanterWeights
from app.formats.exports.lingua import LinguaExport
from app.formats.exports.llama_factory import LlamaFactoryExport
from app.formats.exports.maxtext import MaxTextMixture
from app.formats.exports.megatron import MegatronBlend
from app.formats.exports.mosaic import MosaicStreams
from app.formats.exports.nanotron import NanotronExport
from app.formats.exports.olmix import OlmixMix
from app.formats.exports.olmo_core import OlmoCoreMixture
from app.formats.exports.plain_csv import PlainCsvExport
from app.formats.exports.plain_json import PlainJsonExport
from app.formats.exports.torchtitan import TorchtitanExport

EXPORTS: dict[str, ExportFormat] = {
    each.name: each
    for each in (
        MegatronBlend(),
        OlmoCoreMixture(),
        OlmixMix(),
        LevanterWeights(),
        MaxTextMixture(),
        MosaicStreams(),
        NanotronExport(),
        TorchtitanExport(),
        HfInterleaveExport(),
        LlamaFactoryExport(),
        LinguaExport(),
        GptNeoxExport(),
        EnergonExport(),
        DoremiExport(),
        PlainJsonExport(),
        PlainCsvExport(),
    )
}
