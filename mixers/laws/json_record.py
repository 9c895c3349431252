"""Fitted numbers as JSON, told by the annotations of the record that holds them.

record                                    JSON
array of float64, int64 or bool           nested lists; the numbers survive exactly
int, float, bool, str, tuple of these     as they are
another record, tuple of records          objects
fitted law, tuple of fitted laws          objects that name their kind
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from inspect import isabstract
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, get_args, get_type_hints

import numpy as np
from jaxtyping import AbstractArray

if TYPE_CHECKING:
    from mixers.laws.base import FittedLaw

Record = TypeVar("Record", bound="JsonRecord")
# Turns JSON values into a fitted law of whichever kind; a law of several parts needs it for its parts.
Loader = Callable[[dict[str, Any]], "FittedLaw"]

# By the name of the dtype that an annotation allows, as jaxtyping tells it.
_DTYPES = {"float64": np.float64, "int64": np.int64, "bool": np.bool_}


class JsonRecord:
    """A frozen dataclass that is its own description in JSON."""

    nan_is_null: ClassVar[frozenset[str]] = frozenset()  # arrays in which NaN says that something was not told

    def to_dict(self) -> dict[str, Any]:
        """JSON values that :meth:`from_dict` turns into an equal record.

        Raises:
            ValueError: another array holds NaN, or any holds infinity; JSON has neither.
        """
        values = {name: getattr(self, name) for name in _hints(type(self))}
        return {name: _nulls(value) if name in self.nan_is_null else _plain(value) for name, value in values.items()}

    @classmethod
    def from_dict(cls: type[Record], data: dict[str, Any], load: Loader | None = None) -> Record:
        """The inverse of :meth:`to_dict`; ``load`` reads the fitted laws in it."""
        return cls(**{name: _restored(hint, data[name], load) for name, hint in _hints(cls).items()})


def numbers(values: np.ndarray) -> list[Any]:
    """An array as JSON lists; float64 survives exactly, NaN and infinity must not be in it."""
    if not np.isfinite(values).all():
        raise ValueError("a fitted law holds a number that is not finite")
    return values.tolist()


def _nulls(values: np.ndarray) -> list[Any]:
    told = ~np.isnan(values)
    numbers(values[told])
    return np.where(told, values.astype(object), np.array(None)).tolist()


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return numbers(value)
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return value.to_dict() if isinstance(value, JsonRecord) else value


def _restored(hint: Any, value: Any, load: Loader | None) -> Any:
    parts = get_args(hint)
    if parts:  # a tuple, of as many parts as it names or of any number of the same
        hints = [parts[0]] * len(value) if parts[-1] is ... else parts
        return tuple(_restored(each, part, load) for each, part in zip(hints, value, strict=True))
    if issubclass(hint, AbstractArray):
        return np.array(value, dtype=next(_DTYPES[name] for name in hint.dtypes if name in _DTYPES))
    if not issubclass(hint, JsonRecord):
        return hint(value)
    if not isabstract(hint):
        return hint.from_dict(value)
    if load is None:
        raise TypeError("a law of several parts is loaded by mixers.laws.fitted_from_dict")
    return load(value)


@cache
def _hints(record: type) -> dict[str, Any]:
    """The annotations of what the record is made from; what it derives of that itself is left out."""
    hints = get_type_hints(record)
    return {field.name: hints[field.name] for field in fields(record) if field.init}
