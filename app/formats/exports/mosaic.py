"""MosaicML Streaming and LLM Foundry: streams with proportions, and for stages the curriculum-learning callback.

``train_loader.dataset.streams`` is what ``StreamingDataset`` takes too. The first stage is the train loader; the
callback holds its duration and the stages after it. Durations are in tokens, and their sum must be ``max_duration``.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from app.formats.exports.base import (
    Export,
    ExportedFile,
    ExportError,
    ExportFormat,
    Option,
    Plan,
    PlanStage,
    require_paths,
)
from app.formats.exports.header import commented, header_lines, quoted
from app.formats.exports.notes import Habits, notes_of
from app.formats.exports.option_values import text, whole_number
from app.formats.exports.repetition import MAX_EPOCHS, above_cap
from app.formats.exports.shares import token_shares
from app.formats.exports.sources import sources_of, split_note
from app.formats.exports.yaml_text import to_yaml

HABITS = Habits(
    unit="relative shares of samples; they are shares of tokens where every sample is a sequence of equal length.",
    exhaustion="samples of the domain are repeated within the epoch, without a cap.",
    resume="works between the stages of the schedule; the stage that runs and those before it must stay as they are.",
)
NO_EPOCH_SIZE = (
    "Without epoch_size an epoch has as many samples as the streams together; give the option sequence_length to make "
    "an epoch as long as the stage."
)


class MosaicStreams(ExportFormat):
    """``llm_foundry.yaml``, to be merged into a training configuration."""

    name: ClassVar[str] = "mosaic"
    title: ClassVar[str] = "MosaicML Streaming and LLM Foundry: streams and curriculum-learning YAML"
    trainer: ClassVar[str] = "mosaic"
    options: ClassVar[Mapping[str, Option]] = {
        "max_epochs": MAX_EPOCHS,
        "local_root": Option("", "folder for the local copies of remote streams; needed where a path is an address"),
        "split": Option("", "sub-folder of every stream, such as train"),
        "sequence_length": Option(0, "tokens of a sample; sets epoch_size"),
    }

    def render(self, plan: Plan) -> Export:
        require_paths(plan, self.trainer)
        length = whole_number(plan, self.options, "sequence_length")
        more = () if length else (NO_EPOCH_SIZE,)
        notes = notes_of(plan, HABITS, *more, *split_note(plan), *above_cap(plan))
        datasets = [self._dataset(plan, stage, length) for stage in plan.stages]
        config: dict[str, Any] = {
            "max_duration": _duration(plan.total_tokens),
            "train_loader": {"name": "text", "dataset": datasets[0] | {"shuffle": True}},
        }
        if len(datasets) > 1:
            config["callbacks"] = {"curriculum_learning": _curriculum(plan, datasets)}
        body = commented(header_lines(plan, notes)) + to_yaml(config)
        return Export((ExportedFile("llm_foundry.yaml", body),), notes)

    def _dataset(self, plan: Plan, stage: PlanStage, sequence_length: int) -> dict[str, Any]:
        root, split = text(plan, self.options, "local_root"), text(plan, self.options, "split")
        streams = {
            source.name: _places(source.name, source.path, root)
            | ({"split": split} if split else {})
            | {"proportion": source.weight}
            for source in sources_of(plan, token_shares(stage))
        }
        # Whole samples: the last one may be cut off by the end of the stage.
        size = {"epoch_size": -(-stage.tokens // sequence_length)} if sequence_length else {}
        return {"streams": streams} | size


def _curriculum(plan: Plan, datasets: list[dict[str, Any]]) -> dict[str, Any]:
    later = zip(plan.stages[1:], datasets[1:], strict=True)
    return {
        "duration": _duration(plan.stages[0].tokens),
        "schedule": [{"duration": _duration(stage.tokens), "dataset": dataset} for stage, dataset in later],
    }


def _duration(tokens: int) -> str:
    return f"{tokens}tok"


def _places(name: str, path: str, root: str) -> dict[str, str]:
    """Where a stream lies and where it is kept: a remote one needs a folder of its own.

    Raises:
        ExportError: the path is an address, and no folder was given for local copies.
    """
    if "://" not in path:
        return {"local": path}
    if not root:
        raise ExportError(
            f"{quoted(path)} is remote; Streaming needs a folder for local copies: give the option local_root"
        )
    return {"remote": path, "local": posixpath.join(root, _folder(name))}


def _folder(name: str) -> str:
    """A name of letters, digits, ``.``, ``_`` and ``-``; other characters as their code, so that no two names meet."""
    safe = re.sub(r"[^A-Za-z0-9._-]", lambda match: f"%{ord(match.group()):x}", name)
    return f"%{safe}" if set(safe) <= {"."} else safe
