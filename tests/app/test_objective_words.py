"""The unit of an objective is that of its targets, and mixed units are said."""

from __future__ import annotations

import pytest

from app.loss_units import objective_unit, objective_words, titled, words
from app.schemas.studies import TargetIn

BITS = TargetIn(name="web")
NATS = TargetIn(name="code", unit="nats_per_token")
ACCURACY = TargetIn(name="arc", unit="accuracy", direction="maximize")
WITHOUT_WEIGHT = TargetIn(name="legal", unit="nats_per_token", weight=0)
UNKNOWN = TargetIn(name="law", unit="unknown")


@pytest.mark.parametrize(
    ("targets", "unit", "made"),
    [
        ([BITS, BITS], "bits_per_byte", "the weighted mean of the targets (bits per byte)"),
        (
            [BITS, NATS.model_copy(update={"weight": 0})],
            "bits_per_byte",
            "the weighted mean of the targets (bits per byte)",
        ),
        ([UNKNOWN], "unknown", "the weighted mean of the targets (unit not given)"),
        (
            [ACCURACY],
            "accuracy",
            "the weighted mean of the targets (accuracy; a target to be maximised counts negative)",
        ),
        (
            [NATS, BITS, NATS, ACCURACY],
            "",
            "the weighted mean of the targets in their own, mixed units (nats per token, bits per byte, accuracy; a "
            "target to be maximised counts negative)",
        ),
    ],
)
def test_an_objective_has_the_unit_that_its_targets_share(targets: list[TargetIn], unit: str, made: str) -> None:
    assert (objective_unit(targets), objective_words(targets)) == (unit, made)


def test_a_heading_names_a_unit_that_is_known() -> None:
    assert titled("MAE", "nats_per_token") == "MAE (nats per token)"
    assert titled("MAE", "unknown") == titled("MAE", "") == "MAE"
    assert words("own_score") == "own score"
