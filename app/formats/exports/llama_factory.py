"""LLaMA-Factory: ``dataset``, ``interleave_probs`` and ``mix_strategy``; the first two are texts with commas.

LLaMA-Factory hands the probabilities to ``interleave_datasets`` of Hugging Face, which draws examples before packing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from app.formats.exports.base import Export, ExportedFile, ExportError, ExportFormat, Option, Plan, require_paths
from app.formats.exports.header import commented, header_lines
from app.formats.exports.notes import Habits, notes_of
from app.formats.exports.option_values import one_of, stage_file
from app.formats.exports.repetition import MAX_EPOCHS, above_cap
from app.formats.exports.shares import document_shares
from app.formats.exports.sources import Source, sources_of, split_note
from app.formats.exports.yaml_text import to_yaml

_STRATEGIES = {
    "interleave_over": "it starts again, until every source has run out once (interleave_over); the run's max_steps "
    "should end it earlier.",
    "interleave_under": "the whole dataset ends with the first source that runs out (interleave_under), so no domain "
    "is read more than once.",
    "interleave_once": "it is left out from then on and the others keep their shares among themselves "
    "(interleave_once): the mixture drifts, and no domain is read more than once.",
}

_NAMES = "Bound paths are names of dataset_info.json. Interleaving works best with streaming: true and max_steps."


class LlamaFactoryExport(ExportFormat):
    """One file a stage, to be merged into the configuration of a run."""

    name: ClassVar[str] = "llama-factory"
    title: ClassVar[str] = "LLaMA-Factory: dataset, interleave_probs, mix_strategy"
    trainer: ClassVar[str] = "llama-factory"
    options: ClassVar[Mapping[str, Option]] = {
        "max_epochs": MAX_EPOCHS,
        "mix_strategy": Option("interleave_over", f"one of {', '.join(_STRATEGIES)}"),
    }

    def render(self, plan: Plan) -> Export:
        require_paths(plan, self.trainer)
        strategy = one_of(plan, self.options, "mix_strategy", tuple(_STRATEGIES))
        shares = document_shares(plan)
        notes = notes_of(plan, _habits(strategy), shares.note, _NAMES, *split_note(plan), *above_cap(plan))
        header = commented(header_lines(plan, notes))
        files = []
        for number, probabilities in enumerate(shares.by_stage, start=1):
            sources = sources_of(plan, probabilities)
            document = {
                "dataset": ",".join(_listable(source) for source in sources),
                "interleave_probs": ",".join(repr(source.weight) for source in sources),
                "mix_strategy": strategy,
            }
            name = stage_file(plan, number, "llama_factory", ".yaml")
            files.append(ExportedFile(name, header + to_yaml(document)))
        return Export(tuple(files), notes)


def _habits(strategy: str) -> Habits:
    return Habits(
        unit="each probability is the share of examples (documents), before packing; they must sum to 1.",
        exhaustion=_STRATEGIES[strategy],
        resume="the position in the data is not kept with the mixture: a resumed run skips as many batches of the new "
        "mixture as were trained. Start a new run for each stage.",
    )


def _listable(source: Source) -> str:
    """The name of the dataset. LLaMA-Factory splits its list at commas and strips each part.

    Raises:
        ExportError: it would read the name as another one.
    """
    dataset = source.path
    if "," in dataset or not dataset or dataset != dataset.strip():
        raise ExportError(
            f"dataset name {dataset!r} of {source.name!r} cannot stand in LLaMA-Factory's list; it must not be empty, "
            "hold a comma, or begin or end with a space: give it another name in dataset_info.json"
        )
    return dataset
