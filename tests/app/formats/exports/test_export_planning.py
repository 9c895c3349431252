"""From weights and typed options to a plan: zeros go, shares stay exact, and wrong options are named."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import pytest

from app.formats.exports.base import Export, ExportError, ExportFormat, Option, Plan
from app.formats.exports.planning import UnknownOption, options_of, plan_of, read_options, with_defaults
from tests.app.formats.exports.sample_plans import domain

DOMAINS = [domain(name) for name in ("web", "code", "law")]


class Picky(ExportFormat):
    """Takes an option of every kind, one of which must be given."""

    name: ClassVar[str] = "picky"
    title: ClassVar[str] = "Picky"
    trainer: ClassVar[str] = ""
    options: ClassVar[dict[str, Option]] = {
        "steps": Option(None, "steps of the run", int),
        "rate": Option(0.5, "a rate"),
        "fast": Option(False, "whether to hurry"),
        "word": Option("x", "a word"),
    }

    def render(self, plan: Plan) -> Export:
        return Export((), notes=tuple(plan.dropped))


def stages(*weights: dict[str, float], tokens: int = 1000) -> list[tuple[int, int, dict[str, float]]]:
    return [(n * tokens, (n + 1) * tokens, each) for n, each in enumerate(weights)]


def test_weights_that_sum_to_one_but_for_rounding_stay_as_they_are() -> None:
    weights = {"web": 0.1 + 0.2, "code": 0.7, "law": 0.0}
    plan = plan_of(DOMAINS, stages(weights), {}, {})
    assert plan.stages[0].weights == {"web": 0.30000000000000004, "code": 0.7}
    assert [each.name for each in plan.domains] == ["web", "code"]
    assert plan.dropped == ("law",)


def test_a_weight_of_less_than_a_token_is_a_zero() -> None:
    tiny = {"web": 0.5, "code": 0.5 - 1e-4, "law": 1e-4}
    assert set(plan_of(DOMAINS, stages(tiny, tokens=9_999), {}, {}).stages[0].weights) == {"web", "code"}
    assert set(plan_of(DOMAINS, stages(tiny, tokens=10_000), {}, {}).stages[0].weights) == set(tiny)
    kept = plan_of(DOMAINS, stages(tiny), {}, {}).stages[0].weights
    assert math.fsum(kept.values()) == pytest.approx(1, abs=1e-15)
    assert kept["web"] / kept["code"] == pytest.approx(tiny["web"] / tiny["code"], rel=1e-14)


def test_a_domain_of_one_stage_is_kept_and_named_as_dropped_in_the_other() -> None:
    plan = plan_of(DOMAINS, stages({"web": 1.0, "code": 0.0}, {"web": 0.5, "code": 0.5}), {}, {})
    assert [each.name for each in plan.domains] == ["web", "code"]
    assert plan.dropped == ("code", "law")
    assert plan.epochs() == pytest.approx({"web": 1500 / 1_000_000, "code": 500 / 1_000_000})
    assert plan.stage_epochs(plan.stages[0]) == pytest.approx({"web": 1000 / 1_000_000})


def test_a_stage_without_a_whole_token_is_refused() -> None:
    with pytest.raises(ExportError, match="from token 0 to 1 gives no domain a whole token"):
        plan_of(DOMAINS, stages({"web": 0.5, "code": 0.5}, tokens=1), {}, {})


def test_options_are_read_by_their_kind() -> None:
    typed = {"steps": "12", "rate": "3", "fast": "Yes", "word": "12"}
    values = with_defaults(Picky(), read_options(Picky(), typed))
    assert values == {"target_tokens": 0, "steps": 12, "rate": 3.0, "fast": True, "word": "12"}
    assert [type(values[name]) for name in typed] == [int, float, bool, str]


def test_an_option_without_a_default_must_be_given() -> None:
    with pytest.raises(ExportError, match=r"format 'picky' needs steps \(steps of the run\)"):
        with_defaults(Picky(), {})


def test_an_unknown_option_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UnknownOption) as refused:
        read_options(Picky(), {"step": "1"})
    assert (refused.value.name, refused.value.accepted) == ("step", tuple(options_of(Picky())))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", "1.5"),
        ("steps", True),
        ("steps", 10**19),
        ("rate", "nan"),
        ("rate", float("inf")),
        ("fast", "perhaps"),
        ("fast", 1),
        ("word", 3),
        ("word", "x" * 2001),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(name: str, value: Any) -> None:
    def read() -> dict[str, Any]:
        typed = read_options(Picky(), {name: value}) if isinstance(value, str) else {name: value}
        return with_defaults(Picky(), {"steps": 1} | typed)

    with pytest.raises(ExportError, match=f'option "{name}" is'):
        read()
