"""torchtitan: a Python module that builds a ``DatasetMixConfig`` of ``WeightedDataset`` entries.

Each domain is packed before it is mixed, so that every element that a weight counts is a row of the same length and
weights are token shares. Mixed before packing, they would be shares of documents.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from app.formats.exports.base import Export, ExportedFile, ExportFormat, Option, Plan, require_paths
from app.formats.exports.header import commented, header_lines
from app.formats.exports.notes import Habits, notes_of
from app.formats.exports.option_values import text
from app.formats.exports.python_text import literal
from app.formats.exports.repetition import MAX_EPOCHS, above_cap
from app.formats.exports.shares import token_shares

_HABITS = Habits(
    unit="each weight is the share of packed rows, and so of tokens, because each domain is packed before it is mixed. "
    "torchtitan takes finite weights above 0 and normalises them.",
    exhaustion="with repeat=True each domain starts again without a limit or a warning; with repeat=False the mixture "
    "ends with the first domain that runs out. For whole numbers of passes, list a domain several times in a "
    "DatasetConcatConfig.",
    resume="torchtitan resumes only with an unchanged data configuration: start a stage with other weights from the "
    "model's weights alone. Adding or moving a domain gives all that follow it another seed.",
)

_NEEDS = (
    "The module needs a torchtitan with torchtitan.components.data, which release 0.3.0 does not have. Bound paths are "
    "patterns of JSONL files, with one document a line."
)

_MODULE = '''from torchtitan.components.data import (
    ConcatThenSplitPackingConfig,
    DatasetMixConfig,
    IndexedJsonlSource,
    SingleDatasetConfig,
    WeightedDataset,
)
from torchtitan.hf_datasets.text_datasets import TextProcessor

TEXT_FIELD = {text_field}

# Domain -> patterns of its JSONL files.
PATTERNS = {patterns}

# Each stage: its tokens, and the token share of each domain.
STAGES = {stages}


def document_text(row):
    return row[TEXT_FIELD]


def has_tokens(sample):
    return sample is not None


def packed(domain):
    """The domain as rows of full sequence length."""
    documents = SingleDatasetConfig(
        source=IndexedJsonlSource.Config(patterns=PATTERNS[domain]),
        processor=TextProcessor.Config(text_fn=document_text),
        post_filters=(has_tokens,),
    )
    return ConcatThenSplitPackingConfig(dataset=documents)


def mixture(stage=1):
    """The mixture of a stage, counted from 1: dataset=mixture(1) in GrainDataLoader.Config."""
    weights = STAGES[stage - 1]["weights"]
    return DatasetMixConfig(
        datasets=tuple(WeightedDataset(dataset=packed(domain), weight=weight) for domain, weight in weights.items()),
    )
'''


class TorchtitanExport(ExportFormat):
    """A module with a function ``mixture(stage)``; a run takes one stage, and the next run starts from its weights."""

    name: ClassVar[str] = "torchtitan"
    title: ClassVar[str] = "torchtitan: DatasetMixConfig of packed domains (Python)"
    trainer: ClassVar[str] = "torchtitan"
    options: ClassVar[Mapping[str, Option]] = {
        "max_epochs": MAX_EPOCHS,
        "text_field": Option("text", "the key of the document's text in a JSON line"),
    }

    def render(self, plan: Plan) -> Export:
        require_paths(plan, self.trainer)
        stages = [
            {"from_token": stage.from_token, "to_token": stage.to_token, "weights": token_shares(stage)}
            for stage in plan.stages
        ]
        module = _MODULE.format(
            text_field=repr(text(plan, self.options, "text_field")),
            patterns=literal({domain.name: domain.paths for domain in plan.domains}),
            stages=literal(stages),
        )
        notes = notes_of(plan, _HABITS, _NEEDS, *above_cap(plan))
        return Export((ExportedFile("mixture.py", commented(header_lines(plan, notes)) + module),), notes)
