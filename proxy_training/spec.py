"""What a proxy run is told and what it answers: plain records, JSON in and out, no torch.

The service writes a :class:`ProxySpec`, an agent answers with a :class:`ProxyResult`. Runs whose specs share a
``batch_key`` differ only in mixture and seed and can be trained as one stack.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, FiniteFloat, ValidationError, model_validator

from proxy_training.exact_numbers import ExactNumbers as ExactNumbers  # for app, which may import this file alone
from proxy_training.exact_numbers import Record
from proxy_training.model_spec import ModelSpec

# A mixture crosses the wire as decimal text; anything looser was not normalised by its sender.
SUM_TOLERANCE = 1e-6

NonNegative = Annotated[FiniteFloat, Field(ge=0)]
Positive = Annotated[FiniteFloat, Field(gt=0)]
# Of one run; many of them are summed, and the sum must stay a number.
Seconds = Annotated[FiniteFloat, Field(ge=0, le=1e10)]
# What hours of training are hours of: a gpu is any accelerator.
Processor = Literal["cpu", "gpu"]


class OptimizerSpec(Record):
    """AdamW with a linear warm-up and then the named schedule down to ``final_fraction`` of the peak.

    ``wsd`` (warm-up, stable, decay) holds the peak and falls only in the last ``decay_fraction`` of the steps. The
    defaults suit runs of very few steps; the rate is that of the default width and is carried over to others.
    """

    learning_rate: Positive = 2e-2
    schedule: Literal["constant", "cosine", "linear", "wsd"] = "cosine"
    warmup_fraction: float = Field(default=0.05, ge=0, lt=1)
    final_fraction: float = Field(default=0.3, ge=0, le=1)
    decay_fraction: float = Field(default=0.2, gt=0, le=1, description="of all steps; used by wsd alone")
    weight_decay: NonNegative = 0.0
    beta1: float = Field(default=0.8, ge=0, lt=1)
    beta2: float = Field(default=0.95, ge=0, lt=1)
    grad_clip: Positive = 0.3

    @model_validator(mode="after")
    def _phases_fit(self) -> Self:
        if self.schedule == "wsd" and self.warmup_fraction + self.decay_fraction > 1:
            raise ValueError(
                f"warmup_fraction {self.warmup_fraction} and decay_fraction {self.decay_fraction} are more than the run"
            )
        return self


class Stage(Record):
    """Weights that hold from one token (inclusive) to another (exclusive)."""

    from_token: int = Field(ge=0)
    to_token: int = Field(gt=0)
    weights: dict[str, NonNegative]

    @model_validator(mode="after")
    def _is_a_mixture(self) -> Self:
        total = sum(self.weights.values())
        if abs(total - 1) > SUM_TOLERANCE:
            raise ValueError(f"the weights of a stage sum to {total:.6g}; they must sum to 1")
        if self.to_token <= self.from_token:
            raise ValueError(f"a stage ends at token {self.to_token}, not after its start {self.from_token}")
        return self


class TargetRun(Record):
    """The big run that proxies stand for, as far as repetition goes: its length and the tokens that each domain has.

    A proxy run then draws from such a part of every domain that it goes through that part as often as the big run
    goes through the whole domain.
    """

    train_tokens: int = Field(gt=0, le=10**16)
    available_tokens: dict[str, Annotated[int, Field(gt=0, le=10**16)]] = Field(min_length=1)


class EarlyStopping(Record):
    """When a run is hopeless: at a measured token count its objective is worse than ``quantile`` of the runs with
    equal settings that were measured there, of which there must be ``min_runs``, and ``after_fraction`` of the
    tokens are through."""

    after_fraction: float = Field(default=0.25, ge=0, lt=1)
    quantile: float = Field(default=0.75, gt=0, lt=1)
    min_runs: int = Field(default=8, ge=2, le=10_000)

    def judges(self, tokens: int, train_tokens: int) -> bool:
        """Whether a measurement after ``tokens`` of ``train_tokens`` may end a run. At the end nothing is left to
        save."""
        return self.after_fraction * train_tokens <= tokens < train_tokens


class ProxySettings(Record):
    """Everything of a proxy run but its mixture and its seed.

    ``corpus_hash`` is the hash in the manifest of the tokenised corpus. ``measure_at_tokens`` are the token counts
    of the trajectory; the end is always measured. ``eval_sequences`` bounds the validation sequences a target.
    ``precision`` auto is bf16 with fp32 master weights on a GPU and fp32 elsewhere. With ``random_numbers`` common,
    runs of equal seeds share initial weights and the order of sequences in every domain; independent runs share
    nothing, whatever their seeds.

    A point on the way is a point of (N, D) as far as the learning rate allows: with ``constant``, and with ``wsd``
    before its decay, it is nearly what a run of so many tokens would have measured. Under ``cosine`` and ``linear`` it
    is the middle of a longer run whose rate had not come down: its loss is higher than that of a finished run of so
    many tokens, and the two should not be fitted as one. With ``match_repetition``, text has been repeated there as
    often as by the target run at the same share of its tokens.
    """

    model: ModelSpec = ModelSpec()
    optimizer: OptimizerSpec = OptimizerSpec()
    corpus_hash: str = Field(min_length=1)
    train_tokens: int = Field(gt=0, le=10**13)
    batch_sequences: int = Field(default=16, ge=1, le=65536)
    eval_sequences: int = Field(default=256, ge=1, le=10**6)
    measure_at_tokens: tuple[int, ...] = ()
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    random_numbers: Literal["common", "independent"] = "common"
    match_repetition: TargetRun | None = Field(default=None, description="repeat every domain as often as this run")
    early_stopping: EarlyStopping | None = Field(default=None, description="give up hopeless runs; never by default")

    @model_validator(mode="after")
    def _tokens_fit(self) -> Self:
        if self.train_tokens < self.step_tokens:
            raise ValueError(f"train_tokens {self.train_tokens} is less than one step of {self.step_tokens} tokens")
        for tokens in self.measure_at_tokens:
            if not 0 < tokens <= self.train_tokens:
                raise ValueError(f"measure_at_tokens {tokens} lies outside of 1 .. {self.train_tokens}")
        return self

    @model_validator(mode="after")
    def _early_stopping_can_act(self) -> Self:
        rule, (*on_the_way, end) = self.early_stopping, self.measured_tokens
        if rule is None or any(rule.judges(tokens, self.train_tokens) for tokens in on_the_way):
            return self
        measured = _some([*on_the_way, end])
        raise ValueError(
            f"early_stopping would never act: it judges measurements from token "
            f"{math.ceil(rule.after_fraction * self.train_tokens)} on and before the last one, but runs are measured "
            f"after {measured} tokens only; put a count of that range into measure_at_tokens"
        )

    @property
    def step_tokens(self) -> int:
        return self.batch_sequences * self.model.context

    def is_end(self, tokens: int) -> bool:
        """Whether a run is finished after ``tokens``. Trainers do whole steps, and may round the run down to them."""
        return tokens >= self.train_tokens // self.step_tokens * self.step_tokens

    def is_beyond(self, tokens: int) -> bool:
        """Whether ``tokens`` are more than a run has whose last step is done whole."""
        return tokens >= self.train_tokens + self.step_tokens

    @property
    def measured_tokens(self) -> tuple[int, ...]:
        """After how many tokens a run is measured, ascending: whole steps, the first at or after each asked count, and
        the last."""
        step, end = self.step_tokens, self.train_tokens // self.step_tokens * self.step_tokens
        asked = {min(-(-tokens // step) * step, end) for tokens in self.measure_at_tokens}
        return tuple(sorted(asked | {end}))

    def ends_a_shorter_run(self, train_tokens: int) -> bool:
        """Whether a run of so many tokens would have had the learning rates that this one had until there."""
        stable = (1 - self.optimizer.decay_fraction) * self.train_tokens
        schedule = self.optimizer.schedule
        return schedule == "constant" or (schedule == "wsd" and train_tokens <= stable)

    @property
    def batch_key(self) -> str:
        """Equal for runs that one stack can train together."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:32]


class ProxySpec(Record):
    """One proxy run. Runs with equal seeds share initial weights and the order of sequences in every domain
    (common random numbers), so that their losses differ by the mixture and not by luck; unless the settings say
    otherwise."""

    settings: ProxySettings
    stages: tuple[Stage, ...] = Field(min_length=1)
    seed: int = Field(default=0, ge=0, lt=2**31)

    @model_validator(mode="after")
    def _stages_cover_the_run(self) -> Self:
        at = 0
        for stage in self.stages:
            if stage.from_token != at:
                raise ValueError(f"a stage starts at token {stage.from_token}; it must start at {at}")
            at = stage.to_token
        if at != self.settings.train_tokens:
            raise ValueError(f"the stages end at token {at}; the run has {self.settings.train_tokens}")
        return self

    @cached_property
    def hash(self) -> str:
        """Equal for equal specs."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:32]

    @cached_property
    def draw_seed(self) -> int:
        """The seed of initial weights and of the order of sequences: the run's own, or one that no other run has."""
        if self.settings.random_numbers == "common":
            return self.seed
        digest = hashlib.sha256(self.model_dump_json(include={"stages", "seed"}).encode()).digest()
        return int.from_bytes(digest[:4], "little") >> 1


class Measured(Record):
    """A loss or a metric and its standard error over documents (null when there is only one).

    Losses are in bits per byte; the same loss in nats per token stands beside it when the trainer knows it.
    """

    value: FiniteFloat
    stderr: NonNegative | None = None
    nats_per_token: FiniteFloat | None = None
    nats_per_token_stderr: NonNegative | None = None


class TrajectoryPoint(Record):
    """Losses of every target, in bits per byte, after ``train_tokens`` tokens.

    ``metrics`` are what a command of the agent's measured beside the losses, each in its own unit.
    """

    train_tokens: int = Field(gt=0, le=10**13)
    losses: dict[str, Measured]
    metrics: dict[str, Measured] = Field(default={})


class ProxyResult(Record):
    """What a finished proxy run measured. ``diverged`` carries no losses: a diverged run has no number."""

    status: Literal["succeeded", "diverged"]
    train_tokens: int = Field(ge=0, le=10**13)
    losses: dict[str, Measured] = Field(default={})
    metrics: dict[str, Measured] = Field(default={})
    trajectory: tuple[TrajectoryPoint, ...] = ()
    realised_weights: dict[str, NonNegative] = Field(default={})
    realised_stages: tuple[Stage, ...] = Field(
        default=(), description="the shares of the domains in the sequences that begin in each of several stages"
    )
    epochs: dict[str, NonNegative] = Field(default={})
    stages: tuple[Stage, ...] = Field(default=(), description="as trained, when weights were changed on the way")
    wall_seconds: Seconds = 0.0
    cpu_seconds: Seconds = 0.0
    device: str = Field(default="", max_length=200)
    processor: Processor | None = Field(default=None, description="null where the trainer does not say")
    precision: Literal["", "fp32", "bf16"] = ""
    message: str = ""

    @model_validator(mode="after")
    def _success_has_losses(self) -> Self:
        if self.status == "succeeded" and not self.losses:
            raise ValueError("a run that succeeded must report losses")
        if self.status == "diverged" and self.losses:
            raise ValueError("a diverged run must not report losses")
        return self


def _some(counts: Sequence[int], most: int = 6) -> str:
    """Ascending counts for a sentence; of many the last."""
    shown = ", ".join(map(str, counts[-most:]))
    return shown if len(counts) <= most else f"..., {shown}"


RunId = Annotated[str, Field(min_length=1, max_length=200)]


class NamedSpec(Record):
    """A run by its name: a line of a file of specs."""

    run_id: RunId
    spec: ProxySpec


class NamedResult(Record):
    """What a run measured, by the run's name and the hash of its spec: a line of a file of results.

    ``merged`` losses are those of an average of experts: they stand for a run that nobody has trained.
    """

    run_id: RunId
    spec_hash: str
    result: ProxyResult
    fidelity: Literal["trained", "merged"] = "trained"

    @classmethod
    def of(cls, run: NamedSpec, result: ProxyResult, fidelity: Literal["trained", "merged"] = "trained") -> NamedResult:
        """The line about ``run``."""
        return cls(run_id=run.run_id, spec_hash=run.spec.hash, result=result, fidelity=fidelity)


Named = TypeVar("Named", NamedSpec, NamedResult)


def parse_lines(kind: type[Named], lines: Iterable[bytes], where: str) -> list[Named]:
    """The records of JSON lines; blank lines are skipped.

    Raises:
        ValueError: a line is no such record, or names a run again; the sentence names the line, and ``where`` it is.
    """
    known: dict[str, int] = {}
    records = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = kind.model_validate_json(line)
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(str(part) for part in wrong["loc"])
            reason = wrong["msg"].removeprefix("Value error, ")
            raise ValueError(f"{where}, line {number}{f', {field}' if field else ''}: {reason}") from None
        if record.run_id in known:
            raise ValueError(f"{where}, line {number}: run {record.run_id!r} is in line {known[record.run_id]} already")
        known[record.run_id] = number
        records.append(record)
    return records
