"""What every import format is given and gives.

A format turns a :class:`Source` (files, or a tracker that is asked over the network) into a :class:`Reading`: the
domains and targets that it found, and a stream of records. It decides whether a run is finished, and knows nothing of
databases, studies or HTTP. Values stand in the direction of the source; nothing is negated here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from app.formats.imports.trackers import Trackers
from app.formats.remarks import Remarks
from app.schemas.run_fidelity import RunFidelity
from app.schemas.skip_reasons import SkipReason

Direction = Literal["minimize", "maximize"]


@dataclass(frozen=True, slots=True)
class ImportedPoint:
    """What a run had measured on the way, after ``train_tokens`` tokens. ``values`` as those of a run."""

    train_tokens: float
    values: Mapping[str, float]
    stderrs: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImportedStage:
    """Weights from one token of a run (inclusive) to another (exclusive)."""

    from_token: float
    to_token: float
    weights: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ImportedRun:
    """A finished run. Without ``weights`` and ``stages`` these are measurements of a run that the study has already.

    Attributes:
        place: where it stands in the source, for messages.
        values: {target: number}; NaN and infinity mean "not measured".
        stderrs: standard errors of some of the values.
        trajectory: what was measured on the way, in any order.
        stages: in place of weights, where these change on the way.
    """

    external_id: str
    place: str
    values: Mapping[str, float]
    weights: Mapping[str, float] | None
    stderrs: Mapping[str, float] = field(default_factory=dict)
    model_params: float | None = None
    train_tokens: float | None = None
    seed: float | None = None
    label: str = ""
    tokenizer: str = ""
    fidelity: RunFidelity = RunFidelity.TRAINED
    trajectory: tuple[ImportedPoint, ...] = ()
    stages: tuple[ImportedStage, ...] = ()


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A run that the format itself cannot give as a result. Runs are counted by reason and ``detail``."""

    external_id: str
    reason: SkipReason
    detail: str


Record = ImportedRun | LeftOut


@dataclass(frozen=True)
class FoundDomain:
    """A domain as the source tells of it."""

    name: str
    available_tokens: int | None = None
    prior: float | None = None
    group: str = ""
    min_weight: float | None = None
    max_weight: float | None = None
    mean_document_tokens: float | None = None


@dataclass(frozen=True)
class FoundTarget:
    """A target as the source tells of it; ``stated`` is False where its direction was guessed from its name."""

    name: str
    unit: str
    direction: Direction
    weight: float = 1.0
    family: str = ""
    stated: bool = False


@dataclass(frozen=True)
class Reading:
    """What a source holds. ``runs`` can be walked once."""

    source: str
    domains: tuple[FoundDomain, ...]
    targets: tuple[FoundTarget, ...]
    runs: Iterator[Record]
    remarks: Remarks = field(default_factory=Remarks)


@dataclass(frozen=True)
class Source:
    """Where runs come from: uploaded files by their relative names, or trackers that may be asked."""

    files: Mapping[str, Path] = field(default_factory=dict)
    trackers: Trackers = field(default_factory=Trackers)


class Options(BaseModel):
    """What a format lets the caller choose; an unknown option is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Chosen = TypeVar("Chosen", bound=Options)


class ImportFormat(ABC, Generic[Chosen]):
    """One foreign format: a file of this package and a line in its registry."""

    name: ClassVar[str]
    title: ClassVar[str]  # one sentence for people
    takes: ClassVar[Literal["files", "network", "either"]] = "files"
    options: ClassVar[type[Options]] = Options

    def check(self, trackers: Trackers, options: Chosen) -> None:
        """Refuse what could never be asked over the network; nobody is asked yet.

        Raises:
            InvalidInput: naming the option.
        """
        del trackers, options

    @abstractmethod
    def read(self, source: Source, options: Chosen) -> Reading:
        """What ``source`` holds.

        Raises:
            FormatError: naming file, line and column of what is wrong.
            TrackerFailed: a tracker does not answer, or not as it should.
        """


def reading_of(
    source: str,
    records: Callable[[], Iterable[Record]],
    target: Callable[[str], FoundTarget],
    remarks: Remarks | None = None,
) -> Reading:
    """A reading of records that name their domains and targets themselves, in the order of their first appearance.

    Args:
        records: gives the records, twice: once to learn the names, once to take them.
        target: what is known of a target of this name.
    """
    domains: dict[str, None] = {}
    targets: dict[str, None] = {}
    for record in records():
        if isinstance(record, ImportedRun):
            for mixture in (record.weights or {}, *(stage.weights for stage in record.stages)):
                domains |= dict.fromkeys(mixture)
            targets |= dict.fromkeys(record.values)
    found = tuple(FoundDomain(name) for name in domains)
    return Reading(source, found, tuple(map(target, targets)), iter(records()), remarks or Remarks())


def source_name(files: Sequence[str]) -> str:
    """The files of a source, for the report."""
    shown = ", ".join(files[:5])
    return shown if len(files) <= 5 else f"{shown} and {len(files) - 5} more"
