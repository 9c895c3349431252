"""The records that every room speaks in: frozen, and checked when they are built.

Notation: n runs, k domains, t targets, ``*batch`` any leading axes. Every k-axis follows ``Domains.names``,
every t-axis ``Targets.names``. Losses are minimised. NaN in ``Observations.losses`` means "not measured";
NaN in a scale means "not known".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
from jaxtyping import Bool, Float, Int

from mixers.errors import InvalidInput

# Sums of weights that passed the door differ from 1 by rounding in float64 only.
SUM_TOLERANCE = 1e-6


def _frozen(values: object, dtype: type = np.float64) -> np.ndarray:
    array = np.array(values, dtype=dtype)
    array.setflags(write=False)
    return array


def _check_unique(names: Sequence[str], what: str) -> None:
    if len(names) == 0:
        raise InvalidInput(f"there must be at least one {what}")
    seen: set[str] = set()
    for name in names:
        if not name:
            raise InvalidInput(f"a {what} has an empty name")
        if name in seen:
            raise InvalidInput(f"{what} {name!r} is named twice")
        seen.add(name)


def check_weights(p: Float[np.ndarray, "*batch k"], names: Sequence[str]) -> None:
    """Refuse weights that are not points of the simplex.

    Raises:
        InvalidInput: naming the first row and domain that is wrong.
    """
    rows = np.atleast_2d(p)
    if rows.shape[-1] != len(names):
        raise InvalidInput(f"weights have {rows.shape[-1]} entries for {len(names)} domains")
    rows = rows.reshape(-1, len(names))
    bad = ~np.isfinite(rows) | (rows < 0)
    if bad.any():
        i, j = np.argwhere(bad)[0]
        raise InvalidInput(f"the weight of {names[j]!r} in row {i} is {rows[i, j]}; it must be a number from 0 to 1")
    sums = rows.sum(axis=1)
    off = np.abs(sums - 1) > SUM_TOLERANCE
    if off.any():
        i = int(np.argmax(off))
        raise InvalidInput(f"the weights of row {i} sum to {sums[i]:.6g}; they must sum to 1")


@dataclass(frozen=True)
class Domains:
    """An ordered domain set.

    Args:
        names: k different names.
        prior: the natural mixture, shape (k,); normalised on construction. Uniform when left out.
        available_tokens: unique tokens of each domain, shape (k,); ``inf`` where not known.
    """

    names: tuple[str, ...]
    prior: np.ndarray = field(default_factory=lambda: np.empty(0))  # (k,)
    available_tokens: np.ndarray = field(default_factory=lambda: np.empty(0))  # (k,)

    def __post_init__(self) -> None:
        names = tuple(self.names)
        _check_unique(names, "domain")
        k = len(names)
        prior = np.full(k, 1 / k) if len(self.prior) == 0 else np.asarray(self.prior, dtype=float)
        tokens = np.full(k, np.inf) if len(self.available_tokens) == 0 else np.asarray(self.available_tokens, float)
        for label, values in (("prior", prior), ("available_tokens", tokens)):
            if values.shape != (k,):
                raise InvalidInput(f"{label} has shape {values.shape} for {k} domains")
            wrong = np.isnan(values) | (values < 0)
            if wrong.any():
                j = int(np.argmax(wrong))
                raise InvalidInput(f"{label} of domain {names[j]!r} is {values[j]}; it must be 0 or more")
        if not np.isfinite(prior).all() or prior.sum() <= 0:
            raise InvalidInput("the prior must be finite, with a positive sum")
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "prior", _frozen(prior / prior.sum()))
        object.__setattr__(self, "available_tokens", _frozen(tokens))

    def __len__(self) -> int:
        return len(self.names)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Domains)
            and self.names == other.names
            and np.array_equal(self.prior, other.prior)
            and np.array_equal(self.available_tokens, other.available_tokens)
        )

    __hash__ = None  # type: ignore[assignment]  # holds arrays


@dataclass(frozen=True)
class Targets:
    """What is measured after training. Values are losses: a metric to be maximised was negated at the edge.

    Args:
        names: t different names.
        weights: importance in the objective, shape (t,), 0 or more, not all 0; ones when left out.
        families: a group name a target; empty where there is none.
        units: a unit a target, e.g. ``bits_per_byte``.
        maximised: True where the stored value is the negated metric; shape (t,).
    """

    names: tuple[str, ...]
    weights: np.ndarray = field(default_factory=lambda: np.empty(0))  # (t,)
    families: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    maximised: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        names = tuple(self.names)
        _check_unique(names, "target")
        t = len(names)
        weights = np.ones(t) if len(self.weights) == 0 else np.asarray(self.weights, dtype=float)
        if weights.shape != (t,):
            raise InvalidInput(f"weights of targets have shape {weights.shape} for {t} targets")
        wrong = ~np.isfinite(weights) | (weights < 0)
        if wrong.any():
            j = int(np.argmax(wrong))
            raise InvalidInput(f"the weight of target {names[j]!r} is {weights[j]}; it must be 0 or more")
        if weights.sum() <= 0:
            raise InvalidInput("all targets have weight 0; at least one must be positive")
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "weights", _frozen(weights))
        for label, empty in (("families", ""), ("units", ""), ("maximised", False)):
            values = tuple(getattr(self, label)) or (empty,) * t
            if len(values) != t:
                raise InvalidInput(f"{label} has {len(values)} entries for {t} targets")
            object.__setattr__(self, label, values)

    def __len__(self) -> int:
        return len(self.names)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Targets):
            return False
        same = (self.names, self.families, self.units, self.maximised)
        return same == (other.names, other.families, other.units, other.maximised) and np.array_equal(
            self.weights, other.weights
        )

    __hash__ = None  # type: ignore[assignment]  # holds arrays

    def subset(self, columns: Sequence[int]) -> Targets:
        """The targets at ``columns``, in that order. Their weights must not all be 0."""
        return Targets(
            tuple(self.names[j] for j in columns),
            self.weights[list(columns)],
            tuple(self.families[j] for j in columns),
            tuple(self.units[j] for j in columns),
            tuple(self.maximised[j] for j in columns),
        )


@dataclass(frozen=True)
class Scale:
    """Where a prediction is asked for: N non-embedding parameters and D training tokens, NaN when not known.

    Both broadcast against the ``*batch`` axes of the weights.
    """

    model_params: np.ndarray | np.floating | float
    train_tokens: np.ndarray | np.floating | float

    def __post_init__(self) -> None:
        for label in ("model_params", "train_tokens"):
            values = _frozen(getattr(self, label))
            if (values <= 0).any() or np.isinf(values).any():
                raise InvalidInput(f"{label} must be positive and finite")
            object.__setattr__(self, label, values)

    @classmethod
    def unknown(cls) -> Scale:
        return cls(np.nan, np.nan)

    def broadcast(self, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """(N, D) as arrays of ``shape``."""
        return np.broadcast_to(self.model_params, shape), np.broadcast_to(self.train_tokens, shape)


@dataclass(frozen=True)
class Observations:
    """Measured runs. Row i is one evaluated checkpoint.

    Args:
        p: weights, shape (n, k), rows on the simplex.
        losses: shape (n, t), finite or NaN for "not measured".
        model_params, train_tokens: shape (n,); NaN where not known; left out means not known.
        run_ids: n different names. mix_ids: equal for checkpoints and repeats of one mixture; when left out,
            rows with the same weights share a mixture.
        of_run: the run that each row is a checkpoint of; when left out, every row is a run of its own.
    """

    domains: Domains
    targets: Targets
    p: np.ndarray  # (n, k)
    losses: np.ndarray  # (n, t)
    model_params: np.ndarray = field(default_factory=lambda: np.empty(0))  # (n,)
    train_tokens: np.ndarray = field(default_factory=lambda: np.empty(0))  # (n,)
    run_ids: tuple[str, ...] = ()
    mix_ids: tuple[str, ...] = ()
    of_run: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        p, losses = np.atleast_2d(np.asarray(self.p, float)), np.atleast_2d(np.asarray(self.losses, float))
        n = p.shape[0]
        if p.shape != (n, len(self.domains)) or losses.shape != (n, len(self.targets)):
            raise InvalidInput(
                f"weights of shape {p.shape} and losses of shape {losses.shape} do not fit "
                f"{len(self.domains)} domains and {len(self.targets)} targets"
            )
        if n:
            check_weights(p, self.domains.names)
        if np.isinf(losses).any():
            i, j = np.argwhere(np.isinf(losses))[0]
            raise InvalidInput(f"the loss {self.targets.names[j]!r} of row {i} is infinite; leave it out instead")
        object.__setattr__(self, "p", _frozen(p))
        object.__setattr__(self, "losses", _frozen(losses))
        for label in ("model_params", "train_tokens"):
            values = getattr(self, label)
            values = np.full(n, np.nan) if len(values) == 0 else np.asarray(values, float)
            if values.shape != (n,):
                raise InvalidInput(f"{label} has shape {values.shape} for {n} runs")
            if (values <= 0).any() or np.isinf(values).any():
                raise InvalidInput(f"{label} must be positive and finite, or left out")
            object.__setattr__(self, label, _frozen(values))
        run_ids = tuple(self.run_ids) or tuple(str(i) for i in range(n))
        mix_ids = tuple(self.mix_ids) or tuple(row.tobytes().hex() for row in np.round(p, 9) + 0.0)
        of_run = tuple(self.of_run) or run_ids
        if not len(run_ids) == len(mix_ids) == len(of_run) == n:
            raise InvalidInput(
                f"{len(run_ids)} run ids, {len(mix_ids)} mix ids and the runs of {len(of_run)} rows for {n} rows"
            )
        if n:
            _check_unique(run_ids, "run id")
        object.__setattr__(self, "run_ids", run_ids)
        object.__setattr__(self, "mix_ids", mix_ids)
        object.__setattr__(self, "of_run", of_run)

    def __len__(self) -> int:
        return self.p.shape[0]

    @property
    def scale(self) -> Scale:
        """The scale of every row, shape (n,)."""
        return Scale(self.model_params, self.train_tokens)

    @property
    def mixture_groups(self) -> Int[np.ndarray, " n"]:
        """An integer a row, equal for rows of one mixture."""
        order = {mix: i for i, mix in enumerate(dict.fromkeys(self.mix_ids))}
        return np.array([order[mix] for mix in self.mix_ids], dtype=np.int64)

    @property
    def runs_measured(self) -> Int[np.ndarray, " t"]:
        """How many runs measured each target; checkpoints of one run count once."""
        order = {run: i for i, run in enumerate(dict.fromkeys(self.of_run))}
        measured = np.zeros((len(order), len(self.targets)), dtype=bool)
        np.logical_or.at(measured, [order[run] for run in self.of_run], ~np.isnan(self.losses))
        return measured.sum(axis=0)

    @property
    def scale_groups(self) -> Int[np.ndarray, " n"]:
        """An integer a row, equal for rows of equal (N, D), ordered by N, then D. Unknown equals unknown."""
        keys = np.nan_to_num(np.stack([self.model_params, self.train_tokens], axis=1), nan=-1.0)
        return np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)

    def rows(self, select: Bool[np.ndarray, " n"] | Int[np.ndarray, " m"]) -> Observations:
        """The runs that ``select`` (a mask or indices) names, in that order."""
        index = np.arange(len(self))[select]
        return replace(
            self,
            p=self.p[index],
            losses=self.losses[index],
            model_params=self.model_params[index],
            train_tokens=self.train_tokens[index],
            run_ids=tuple(self.run_ids[i] for i in index),
            mix_ids=tuple(self.mix_ids[i] for i in index),
            of_run=tuple(self.of_run[i] for i in index),
        )

    def of_targets(self, columns: Sequence[int]) -> Observations:
        """The same runs with the targets at ``columns`` only, in that order."""
        return replace(self, targets=self.targets.subset(columns), losses=self.losses[:, list(columns)])


@dataclass(frozen=True)
class Prediction:
    """Predicted losses and their standard deviations (of a new measurement, noise included); shape (*batch, t)."""

    mean: Float[np.ndarray, "*batch t"]
    std: Float[np.ndarray, "*batch t"]

    def __post_init__(self) -> None:
        if self.mean.shape != self.std.shape:
            raise InvalidInput(f"mean of shape {self.mean.shape} and std of shape {self.std.shape} differ")
        if not np.isfinite(self.mean).all() or not np.isfinite(self.std).all() or (self.std < 0).any():
            raise InvalidInput("a prediction must be finite, with standard deviations of 0 or more")


class SolveStatus(StrEnum):
    """How a search for the best weights ended."""

    OPTIMAL = "optimal"  # certified by a KKT residual or duality gap
    CONVERGED = "converged"  # a local optimum, best of several starts
    BEST_FOUND = "best_found"  # the best of the candidates that were looked at
    GIVEN = "given"  # nothing was searched: somebody chose the weights


@dataclass(frozen=True)
class Solution:
    """The best weights that were found, and in which sense they are the best.

    Args:
        weights: shape (k,), inside the feasible set.
        value: the minimised objective there.
        residual: the certificate (duality gap); NaN when the status carries none.
        message: one sentence for the reader.
    """

    weights: Float[np.ndarray, " k"]
    value: float
    status: SolveStatus
    residual: float
    message: str
