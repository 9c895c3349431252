"""The suite runs with the shapes in the annotations of ``mixers`` checked; here, that it really does."""

from __future__ import annotations

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from mixers.agreement import objective_values
from mixers.types import Scale


def test_wrong_shape_in_a_call_is_an_error() -> None:
    with pytest.raises(TypeCheckError, match="weights"):
        objective_values(np.zeros((4, 3)), np.ones((3, 1)))


def test_wrong_type_in_a_call_is_an_error() -> None:
    with pytest.raises(TypeCheckError):
        Scale.unknown().broadcast("not a shape")  # type: ignore[arg-type]
