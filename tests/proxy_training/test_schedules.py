"""Learning rates at the points that a reader can work out by hand."""

from __future__ import annotations

from typing import get_args

import pytest

from proxy_training.schedules import SCHEDULES, learning_rate
from proxy_training.spec import OptimizerSpec


def rates(steps: int, **keys: object) -> list[float]:
    optimizer = OptimizerSpec(learning_rate=1.0, **keys)  # type: ignore[arg-type]
    return [learning_rate(optimizer, step, steps) for step in range(steps)]


def test_every_schedule_of_the_spec_is_known() -> None:
    assert set(get_args(OptimizerSpec.model_fields["schedule"].annotation)) == set(SCHEDULES)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_warm_up_is_a_straight_line_that_never_starts_at_zero(schedule: str) -> None:
    assert rates(20, schedule=schedule, warmup_fraction=0.2)[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])


def test_a_constant_rate_stays() -> None:
    assert rates(10, schedule="constant", warmup_fraction=0.0) == [1.0] * 10


def test_a_linear_rate_falls_by_equal_parts_to_the_final_fraction() -> None:
    # 8 steps from just below 1 down to 0.2: each takes 0.8 / 8.
    assert rates(8, schedule="linear", warmup_fraction=0.0, final_fraction=0.2) == pytest.approx(
        [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2]
    )


def test_a_cosine_rate_is_halfway_down_in_the_middle() -> None:
    found = rates(10, schedule="cosine", warmup_fraction=0.0, final_fraction=0.0)
    assert found[4] == pytest.approx(0.5)  # (1 + cos(pi / 2)) / 2
    assert found[9] == pytest.approx(0.0)


def test_wsd_holds_the_peak_and_falls_in_the_last_part() -> None:
    # 10 steps: 2 of warm-up, 4 at the peak, then 40 % of the steps down from 1 to 0.2 by 0.2 each.
    found = rates(10, schedule="wsd", warmup_fraction=0.2, decay_fraction=0.4, final_fraction=0.2)
    assert found == pytest.approx([0.5, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2])


def test_wsd_without_a_stable_part_is_a_straight_line() -> None:
    straight = rates(10, schedule="linear", warmup_fraction=0.2, final_fraction=0.0)
    assert rates(10, schedule="wsd", warmup_fraction=0.2, decay_fraction=0.8, final_fraction=0.0) == pytest.approx(
        straight
    )


def test_phases_of_more_than_the_run_are_refused() -> None:
    with pytest.raises(ValueError, match="more than the run"):
        OptimizerSpec(schedule="wsd", warmup_fraction=0.5, decay_fraction=0.6)


def test_a_run_of_one_step_has_a_rate() -> None:
    assert rates(1, schedule="cosine", warmup_fraction=0.5) == [1.0]
