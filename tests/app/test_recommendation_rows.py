"""What a report picks out of a recommendation, and how it words prices."""

from __future__ import annotations

import numpy as np
import pytest

from app.price_words import price_words
from app.recommendation_rows import MOST_ROWS, TargetRows, WeightRow, split_rows
from mixers.shadow_prices import ShadowPrice
from mixers.types import Domains, Prediction

DOMAINS = Domains(("web", "books", "notes"), available_tokens=np.array([3e12, 4e6, 2e3]))


def row(name: str, prior: float, weight: float, held_by: str = "") -> WeightRow:
    return WeightRow(name, prior, weight, 0.0, 1.0, 0.0, 1.0, held_by, np.nan, np.nan)


def test_few_domains_are_all_shown_in_their_order() -> None:
    rows = [row(f"d{i}", 1e-5, 1e-5 * i) for i in range(MOST_ROWS)]
    assert split_rows(rows) == (rows, [])


def test_of_many_domains_those_that_matter_are_shown_and_none_is_lost() -> None:
    rows = [row(f"d{i}", 1e-4, 1e-4) for i in range(MOST_ROWS)]
    rows += [row("prior", 0.2, 0.0), row("weight", 0.0, 0.3), row("capped", 1e-4, 5e-4, "epoch cap")]
    seen, rest = split_rows(rows)
    assert [one.domain for one in seen] == ["weight", "capped", "prior"]
    assert len(rest) == MOST_ROWS


def test_of_many_targets_those_that_move_the_objective_are_shown() -> None:
    count = MOST_ROWS + 3
    gain = np.arange(count, dtype=float) * np.where(np.arange(count) % 2, -1, 1)
    weights = np.full(count, 1 / count)
    weights[-1] = 0.0  # moves nothing, whatever it gains
    nothing = np.zeros(count)
    rows = TargetRows(
        "target",
        tuple(f"t{i}" for i in range(count)),
        weights,
        {"recommended": Prediction(nothing, nothing)},
        {"natural": Prediction(gain, nothing)},
        tuple(f"unit_{i}" for i in range(count)),
    ).most_moving()
    assert rows.names == tuple(f"t{i}" for i in range(2, count - 1))
    assert rows.units == tuple(f"unit_{i}" for i in range(2, count - 1))
    assert rows.left_out == 3
    assert rows.gains["natural"].mean.tolist() == gain[2:-1].tolist()


@pytest.mark.parametrize(
    ("price", "words"),
    [
        (("epoch_cap", "web", 0.3, False, 0.003), "one more billion tokens of web (at its epoch cap): -0.003"),
        (("epoch_cap", "books", 0.3, False, 0.5), "one more million tokens of books (at its epoch cap): -0.0005"),
        (("repetition", "notes", 2e3, False, 0.5), "one more thousand tokens of notes (seen more than once): -5e-07"),
        (("max_weight", "web", 0.3, False, 0.02), "one percentage point more of web (at most 0.3): -0.02"),
        (("min_group", "text", 0.3, True, 0.02), "one percentage point less of group text (at least 0.3): -0.02"),
        (("frozen", "web", 0.25, True, 0.02), "one percentage point less of web (frozen at 0.25): -0.02"),
        (
            ("max_change", "web", 0.3, False, 0.02),
            "one percentage point more of web (at most 0.3 by the bound on its change): -0.02",
        ),
        (
            ("total_change", "", 0.1, False, 0.02),
            "letting one percentage point more of the mixture change hands (at most 0.1): -0.02",
        ),
        (("target_limit", "family 'code'", 1.2, False, 0.02), "letting family code be 0.01 worse: -0.02"),
    ],
)
def test_a_price_in_words(price: tuple[str, str, float, bool, float], words: str) -> None:
    kind, subject, limit, at_least, value = price
    unit = "billion tokens" if kind in ("epoch_cap", "repetition") else "percentage point"
    told = price_words(ShadowPrice(kind, subject, limit, at_least, value, value, unit), DOMAINS)
    assert told == f"{words} in the objective"
