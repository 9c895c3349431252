"""What an import counts while it reads: the parts of its report."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from app.schemas.imports import FIRST_IDS, Listed, Renormalised, ScaleSeen, Skipped, Suspicious
from app.schemas.skip_reasons import SkipReason

if TYPE_CHECKING:
    from app.services.import_check import Checked

_MOST_STATES = 50
_MOST_SCALES = 100
# From so many equal values on, a target is called constant.
_CONSTANT_FROM = 3
Kind = Literal["not_finite", "constant", "negative_loss", "negative_stderr"]


class Ids:
    """A number of ids, of which the first are kept."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[str] = []

    def add(self, external_id: str) -> None:
        self.count += 1
        if len(self.first) < FIRST_IDS:
            self.first.append(external_id)

    def listed(self) -> Listed:
        return Listed(count=self.count, first_ids=self.first)


class Tally:
    """Counts by kind."""

    def __init__(self, targets: Sequence[str]) -> None:
        self._targets = tuple(targets)
        self.duplicates, self.differs = Ids(), Ids()
        self.unknown_domains: dict[str, None] = {}
        self.unknown_targets: dict[str, None] = {}
        self._skipped: dict[tuple[SkipReason, str], tuple[str, Ids]] = {}
        self._suspicious: dict[tuple[Kind, str], Ids] = {}
        self._loud, self._renormalised = Ids(), 0
        self._worst: tuple[float, str] | None = None
        self._tokenizers: Counter[str] = Counter()

    def skip(self, external_id: str, reason: SkipReason, detail: str) -> None:
        """Unfinished runs are counted by their state, others by the reason alone."""
        key = (reason, detail if reason is SkipReason.NOT_FINISHED else "")
        if key not in self._skipped and len(self._skipped) >= _MOST_STATES:
            key, detail = (reason, ""), "other states"
        self._skipped.setdefault(key, (detail, Ids()))[1].add(external_id)

    def renormalise(self, external_id: str, total: float, loud: bool) -> None:
        """``loud`` where rounding cannot explain the sum."""
        self._renormalised += 1
        if loud:
            self._loud.add(external_id)
        if self._worst is None or abs(total - 1) > abs(self._worst[0] - 1):
            self._worst = (total, external_id)

    def suspect(self, kind: Kind, target: str, external_id: str) -> None:
        self._suspicious.setdefault((kind, target), Ids()).add(external_id)

    def tokenizer(self, name: str) -> None:
        if name and (name in self._tokenizers or len(self._tokenizers) < _MOST_STATES):
            self._tokenizers[name] += 1

    @property
    def tokenizers(self) -> list[str]:
        return [name for name, _ in self._tokenizers.most_common(5)]

    def skipped(self) -> list[Skipped]:
        return [
            Skipped(reason=reason, detail=detail[:500], count=ids.count, first_ids=ids.first)
            for (reason, _), (detail, ids) in self._skipped.items()
        ]

    @property
    def skipped_count(self) -> int:
        return sum(ids.count for _, ids in self._skipped.values())

    def renormalised(self) -> Renormalised:
        total, worst_id = self._worst or (None, None)
        return Renormalised(count=self._renormalised, worst_sum=total, worst_id=worst_id, warned=self._loud.listed())

    def missing(self, runs: Iterable[Checked]) -> dict[str, int]:
        """{target: runs with weights that have no value of it}; targets that no run lacks are left out."""
        counts = [0] * len(self._targets)
        for run in runs:
            if run.weights is not None:
                for j, value in enumerate(run.values):
                    if value != value:
                        counts[j] += 1
        return {name: count for name, count in zip(self._targets, counts, strict=True) if count}

    def suspicious(self, runs: Sequence[Checked], losses: frozenset[str]) -> list[Suspicious]:
        """What was noted while reading, constant targets, and losses below 0.

        Args:
            losses: targets that cannot be negative.
        """
        for j, name in enumerate(self._targets):
            found = [run for run in runs if not math.isnan(run.values[j])]
            if len(found) >= _CONSTANT_FROM and all(run.values[j] == found[0].values[j] for run in found):
                for run in found:
                    self.suspect("constant", name, run.external_id)
            if name in losses:
                for run in found:
                    if run.values[j] < 0:
                        self.suspect("negative_loss", name, run.external_id)
        return [
            Suspicious(kind=kind, target=target, count=ids.count, first_ids=ids.first)
            for (kind, target), ids in self._suspicious.items()
        ]


def scales(runs: Iterable[Checked]) -> tuple[list[ScaleSeen], int]:
    """The most frequent scales, and how many there are."""
    counts = Counter((run.model_params, run.train_tokens) for run in runs if run.weights is not None)
    seen = [
        ScaleSeen(model_params=params, train_tokens=tokens, runs=number)
        for (params, tokens), number in counts.most_common(_MOST_SCALES)
    ]
    return seen, len(counts)
