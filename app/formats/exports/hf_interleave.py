"""Hugging Face ``datasets``: a Python module and the same numbers as JSON, for ``interleave_datasets``.

``interleave_datasets`` draws the next example from a source with the given probability, so weights are document shares.
Literals go into the module by ``repr`` alone: no name can leave its string.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from app.formats.exports.base import Export, ExportedFile, ExportFormat, Option, Plan
from app.formats.exports.header import commented, header_lines
from app.formats.exports.json_text import described, to_json
from app.formats.exports.notes import Habits, notes_of
from app.formats.exports.option_values import one_of, whole_number
from app.formats.exports.python_text import literal
from app.formats.exports.repetition import MAX_EPOCHS, above_cap
from app.formats.exports.shares import DocumentShares, document_shares

_STRATEGIES = {
    "all_exhausted": "it starts again, until every source has run out once (all_exhausted). With a small probability "
    "for a large source that takes long: stream the datasets and let the trainer's max_steps end the run.",
    "first_exhausted": "the whole dataset ends with the first source that runs out (first_exhausted), so no domain "
    "is read more than once.",
    "all_exhausted_without_replacement": "it is left out from then on and the others keep their shares among "
    "themselves (all_exhausted_without_replacement): the mixture drifts, and no domain is read more than once.",
}

_MODULE = '''from datasets import interleave_datasets

# Each stage: its tokens, the recommended token shares, and the probabilities of drawing an example.
STAGES = {stages}

SEED = {seed}
STOPPING_STRATEGY = {strategy}


def mixture(datasets, stage=1):
    """The datasets (domain -> Dataset or IterableDataset) as one, mixed as in the given stage, counted from 1."""
    probabilities = STAGES[stage - 1]["probabilities"]
    return interleave_datasets(
        [datasets[domain] for domain in probabilities],
        probabilities=list(probabilities.values()),
        seed=SEED,
        stopping_strategy=STOPPING_STRATEGY,
    )
'''


class HfInterleaveExport(ExportFormat):
    """A module with a function ``mixture(datasets, stage)``; the caller loads the datasets, so it needs no paths."""

    name: ClassVar[str] = "hf-interleave"
    title: ClassVar[str] = "Hugging Face datasets: probabilities for interleave_datasets (Python and JSON)"
    trainer: ClassVar[str] = ""
    options: ClassVar[Mapping[str, Option]] = {
        "max_epochs": MAX_EPOCHS,
        "stopping_strategy": Option("all_exhausted", f"one of {', '.join(_STRATEGIES)}"),
        "seed": Option(42, "seed of the draws"),
    }

    def render(self, plan: Plan) -> Export:
        strategy = one_of(plan, self.options, "stopping_strategy", tuple(_STRATEGIES))
        seed = whole_number(plan, self.options, "seed")
        shares = document_shares(plan)
        stages = _stages(plan, shares)
        notes = notes_of(plan, _habits(strategy), shares.note, *above_cap(plan))
        module = _MODULE.format(stages=literal(stages), seed=seed, strategy=repr(strategy))
        numbers = {"stages": stages, "seed": seed, "stopping_strategy": strategy, **described(plan, notes)}
        files = (
            ExportedFile("mixture.py", commented(header_lines(plan, notes)) + module),
            ExportedFile("mixture.json", to_json(numbers)),
        )
        return Export(files, notes)


def _habits(strategy: str) -> Habits:
    return Habits(
        unit="each probability is the share of examples (documents, unless your datasets hold packed sequences); the "
        "probabilities of a stage sum to 1.",
        exhaustion=_STRATEGIES[strategy],
        resume="datasets cannot change probabilities in the middle: build the next stage's mixture from sources that "
        "skip what was read. A saved state of an iterable dataset belongs to the mixture that it was saved with.",
    )


def _stages(plan: Plan, shares: DocumentShares) -> list[dict[str, Any]]:
    return [
        {
            "from_token": stage.from_token,
            "to_token": stage.to_token,
            "token_shares": dict(stage.weights),
            "probabilities": probabilities,
        }
        for stage, probabilities in zip(plan.stages, shares.by_stage, strict=True)
    ]
