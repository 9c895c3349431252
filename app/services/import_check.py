"""The stream of a source held against a study: every run becomes a row to store, or a line of the report.

Rows are kept as packed arrays along the axes of the study, so that a hundred thousand of them fit in little memory.
Weights that miss a sum of 1 by up to 0.005 are normalised and counted, by up to 0.05 with a warning; beyond that the
run is left out.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from app.errors import InvalidRequest
from app.formats.errors import FormatError
from app.formats.imports.base import ImportedPoint, ImportedRun, ImportedStage, LeftOut, Record
from app.formats.imports.run_fields import (
    MAX_MODEL_PARAMS,
    MAX_NAME,
    MAX_TRAIN_TOKENS,
    count,
    seed_of,
)
from app.formats.weight_columns import DEFAULT_TOLERANCE
from app.schemas.imports import ImportSettings
from app.schemas.names import MAX_EXTERNAL_ID, fault_of
from app.schemas.run_fidelity import RunFidelity
from app.schemas.skip_reasons import SkipReason
from app.services.import_tally import Tally
from mixers.types import SUM_TOLERANCE

_SLACK = 1e-9
# A run that its tracker calls unfinished is no fault of the source.
_PARDONED = frozenset({SkipReason.NOT_FINISHED})


@dataclass(slots=True)
class Point:
    """What was measured after ``train_tokens`` tokens, along the targets; NaN where there is nothing."""

    train_tokens: int
    values: array[float]
    stderrs: array[float] | None

    def same_as(self, other: Point) -> bool:
        """Whether both tell the same."""
        return (
            self.train_tokens == other.train_tokens
            and _same(self.values, other.values)
            and _same(self.stderrs, other.stderrs)
        )


@dataclass(slots=True)
class CheckedStage:
    """Weights along the domains, from one token (inclusive) to another (exclusive)."""

    from_token: int
    to_token: int
    weights: array[float]

    def same_as(self, other: CheckedStage) -> bool:
        """Whether both tell the same."""
        ends = (self.from_token, self.to_token) == (other.from_token, other.to_token)
        return ends and _same(self.weights, other.weights)


@dataclass(slots=True)
class Checked:
    """A run that can be stored.

    Attributes:
        weights: along the domains; None for measurements of a run that the study has already.
        values, stderrs: along the targets; NaN where there is none.
        points: what was measured on the way, in the order of the tokens.
        stages: two or more where the weights change on the way; ``weights`` are their mean then.
    """

    external_id: str
    weights: array[float] | None
    values: array[float]
    stderrs: array[float] | None
    model_params: int | None
    train_tokens: int | None
    seed: int
    label: str
    fidelity: RunFidelity
    points: tuple[Point, ...] = ()
    stages: tuple[CheckedStage, ...] = ()

    def same_as(self, other: Checked) -> bool:
        """Whether both tell the same (labels aside)."""
        return (
            _same(self.weights, other.weights)
            and _same(self.values, other.values)
            and _same(self.stderrs, other.stderrs)
            and (self.model_params, self.train_tokens, self.seed, self.fidelity)
            == (other.model_params, other.train_tokens, other.seed, other.fidelity)
            and len(self.stages) == len(other.stages)
            and all(mine.same_as(its) for mine, its in zip(self.stages, other.stages, strict=True))
            and len(self.points) == len(other.points)
            and all(mine.same_as(its) for mine, its in zip(self.points, other.points, strict=True))
        )


def _same(one: array[float] | None, other: array[float] | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.tobytes() == other.tobytes()


class Check:
    """Takes the records of one source."""

    def __init__(self, domains: Sequence[str], targets: Sequence[str], wanted: ImportSettings) -> None:
        self.domains, self.targets, self.wanted = tuple(domains), tuple(targets), wanted
        self.tally = Tally(self.targets)
        self.runs: dict[str, Checked] = {}
        self._domains, self._targets = frozenset(domains), frozenset(targets)
        self._contradicted: set[str] = set()
        self._blank = array("d", [math.nan]) * len(self.targets)

    def take(self, records: Iterable[Record]) -> None:
        """Sort every record into what is stored and what is left out.

        Raises:
            InvalidRequest: ``strict`` was asked for, and a finished run cannot be taken as it stands.
        """
        for record in records:
            external_id = self.wanted.id_prefix + record.external_id
            if isinstance(record, LeftOut):
                self._leave(external_id, record.reason, record.detail)
            elif (fault := _fault_of_id(external_id)) is not None:
                self._leave(repr(external_id[:50]), SkipReason.WRONG_FIELD, f"{record.place}: its id {fault}")
            else:
                self._take(external_id, record)

    def _take(self, external_id: str, record: ImportedRun) -> None:
        try:
            checked = self._checked(external_id, record)
        except _Refused as refused:
            self._leave(external_id, refused.reason, f"{record.place}: {refused}")
            return
        except FormatError as error:
            self._leave(external_id, SkipReason.WRONG_FIELD, f"{record.place}: {error}")
            return
        before = self.runs.get(external_id)
        if external_id in self._contradicted:
            return
        if before is None:
            self.runs[external_id] = checked
            self.tally.tokenizer(record.tokenizer)
        elif before.same_as(checked):
            self.tally.duplicates.add(external_id)
        elif checked.weights is None and before.weights is None and _merged(before, checked):
            pass  # several files of results of one run
        else:
            del self.runs[external_id]
            self._contradicted.add(external_id)
            self._leave(external_id, SkipReason.CONTRADICTS, f"{record.place}: the id stands here with other values")

    def _leave(self, external_id: str, reason: SkipReason, detail: str) -> None:
        if self.wanted.strict and reason not in _PARDONED:
            raise InvalidRequest.of("strict", f"run {external_id!r} cannot be taken: {detail}", "a source without such")
        self.tally.skip(external_id, reason, detail)

    def _checked(self, external_id: str, record: ImportedRun) -> Checked:
        values, stderrs = self._measured(external_id, record.values, record.stderrs)
        if all(map(math.isnan, values)):
            raise _Refused(SkipReason.NO_METRICS, "it has no finite value of a target of the study")
        stages = self._stages(external_id, record.stages)
        weights = _mean(stages) if stages else None
        if record.weights is not None:
            weights = self._weights(external_id, record.weights)
        params = count(record.model_params, MAX_MODEL_PARAMS, "model_params") or self.wanted.model_params
        tokens = count(record.train_tokens, MAX_TRAIN_TOKENS, "train_tokens") or self.wanted.train_tokens
        if stages and tokens not in (None, stages[-1].to_token):
            raise FormatError(f"its stages end at token {stages[-1].to_token}, and it has {tokens}")
        tokens = stages[-1].to_token if stages else tokens
        label = record.label if record.label.isprintable() else repr(record.label)
        seed, label = seed_of(record.seed), label[:MAX_NAME]
        points = self._points(external_id, record.trajectory, tokens)
        staged = tuple(stages) if len(stages) > 1 else ()
        return Checked(
            external_id, weights, values, stderrs, params, tokens, seed, label, record.fidelity, points, staged
        )

    def _stages(self, external_id: str, told: Sequence[ImportedStage]) -> list[CheckedStage]:
        """The stages from token 0 on and without gaps."""
        found: list[CheckedStage] = []
        begins = 0
        for i, stage in enumerate(told):
            ends = count(stage.to_token, MAX_TRAIN_TOKENS, f"to_token of its stage {i}")
            if stage.from_token != begins or ends is None or ends <= begins:
                reach = f"from token {stage.from_token:g} to {stage.to_token:g}"
                raise FormatError(f"its stage {i} is {reach}; it must begin at {begins} and end after that")
            found.append(CheckedStage(begins, ends, self._weights(external_id, stage.weights)))
            begins = ends
        return found

    def _points(self, external_id: str, told: Sequence[ImportedPoint], train_tokens: int | None) -> tuple[Point, ...]:
        """The points that measured a target of the study, ordered; none after the end of the run, no two at once."""
        found: dict[int, Point] = {}
        for one in told:
            tokens = count(one.train_tokens, MAX_TRAIN_TOKENS, "the tokens of a point of its trajectory")
            if tokens is None or (train_tokens is not None and tokens > train_tokens):
                raise FormatError(f"its trajectory goes to {one.train_tokens:g} tokens, beyond its {train_tokens}")
            values, stderrs = self._measured(external_id, one.values, one.stderrs)
            point = Point(tokens, values, stderrs)
            if not found.setdefault(tokens, point).same_as(point):
                raise FormatError(f"its trajectory tells two different things of {tokens} tokens")
        return tuple(found[tokens] for tokens in sorted(found) if not all(map(math.isnan, found[tokens].values)))

    def _weights(self, external_id: str, told: Mapping[str, float]) -> array[float]:
        if self.wanted.rename_domains:
            told = _renamed(told, self.wanted.rename_domains)
        strangers = told.keys() - self._domains
        if strangers:
            self.tally.unknown_domains |= dict.fromkeys(name for name in told if name in strangers)
            used = [name for name in told if name in strangers and told[name] != 0]
            if used:
                raise _Refused(SkipReason.UNKNOWN_DOMAIN, f"the study has no domain {used[0][:100]!r}")
        weights = array("d", [told.get(name, 0.0) for name in self.domains])
        if min(weights) < 0 or not all(map(math.isfinite, weights)):
            raise _Refused(SkipReason.WRONG_WEIGHTS, "a weight is negative, missing or not finite")
        total = _sum(weights)
        off = abs(total - 1)
        if total <= 0 or off > DEFAULT_TOLERANCE.limit + _SLACK:
            raise _Refused(SkipReason.WRONG_WEIGHTS, f"the weights sum to {total:.6g}{_percentages(total)}")
        if off > SUM_TOLERANCE:
            self.tally.renormalise(external_id, total, loud=off > DEFAULT_TOLERANCE.rounding + _SLACK)
        return array("d", [weight / total for weight in weights])

    def _measured(
        self, external_id: str, told: Mapping[str, float], errors: Mapping[str, float]
    ) -> tuple[array[float], array[float] | None]:
        if self.wanted.rename_targets:
            told, errors = (_renamed(each, self.wanted.rename_targets) for each in (told, errors))
        if strangers := told.keys() - self._targets:
            self.tally.unknown_targets |= dict.fromkeys(name for name in told if name in strangers)
        values = array("d", [told.get(name, math.nan) for name in self.targets])
        for j, value in enumerate(values):
            if math.isinf(value):
                self.tally.suspect("not_finite", self.targets[j], external_id)
                values[j] = math.nan
        return values, self._stderrs(external_id, errors, values) if errors else None

    def _stderrs(self, external_id: str, told: Mapping[str, float], values: array[float]) -> array[float]:
        stderrs = array("d", self._blank)
        for j, name in enumerate(self.targets):
            error = told.get(name)
            if error is None or math.isnan(values[j]) or not math.isfinite(error):
                continue
            if error < 0:
                self.tally.suspect("negative_stderr", name, external_id)
                continue
            stderrs[j] = error
        return stderrs


def _fault_of_id(external_id: str) -> str | None:
    if len(external_id) > MAX_EXTERNAL_ID:
        return f"has {len(external_id)} characters; it may have {MAX_EXTERNAL_ID}"
    return fault_of(external_id)


class _Refused(Exception):
    def __init__(self, reason: SkipReason, why: str) -> None:
        super().__init__(why)
        self.reason = reason


def _mean(stages: Sequence[CheckedStage]) -> array[float]:
    """The share of each domain in the tokens of all stages."""
    end = stages[-1].to_token
    shares = [(stage.to_token - stage.from_token) / end for stage in stages]
    columns = zip(*(stage.weights for stage in stages), strict=True)
    return array(
        "d", [math.fsum(share * weight for share, weight in zip(shares, column, strict=True)) for column in columns]
    )


def _renamed(told: Mapping[str, float], names: Mapping[str, str]) -> dict[str, float]:
    return {names.get(name, name): value for name, value in told.items()}


def _merged(before: Checked, more: Checked) -> bool:
    """Put the values of ``more`` into ``before`` unless the two disagree."""
    pairs = list(zip(before.values, more.values, strict=True))
    if any(a != b for a, b in pairs if not (math.isnan(a) or math.isnan(b))):
        return False
    before.values = array("d", [b if math.isnan(a) else a for a, b in pairs])
    if more.stderrs is not None:
        mine = before.stderrs or array("d", [math.nan]) * len(more.stderrs)
        before.stderrs = array("d", [b if math.isnan(a) else a for a, b in zip(mine, more.stderrs, strict=True)])
    return True


def _sum(weights: array[float]) -> float:
    try:
        return math.fsum(weights)
    except OverflowError:  # of finite numbers
        return math.inf


def _percentages(total: float) -> str:
    return " (these look like percentages: divide them by 100)" if abs(total - 100) <= 5 else ""
