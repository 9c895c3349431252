"""What trainers print, read line by line: the accepted forms, and a sentence for every wrong one."""

from __future__ import annotations

import json

import pytest

from proxy_training.engines.trainer_lines import Progress, TrainerLines, WrongLine
from proxy_training.spec import ProxyResult, TrajectoryPoint
from tests.proxy_training.training_cases import STEP_TOKENS, made_up_run

END = STEP_TOKENS  # the made-up run is one step long


@pytest.fixture
def lines() -> TrainerLines:
    return TrainerLines(made_up_run().settings)


def test_progress_a_measurement_and_a_result_are_told_apart(lines: TrainerLines) -> None:
    assert lines.hear('{"train_tokens": 5}') == Progress(train_tokens=5)
    point = lines.hear('{"train_tokens": 9, "losses": {"law": 1.5, "code": {"value": 2, "stderr": 0.25}}}')
    assert isinstance(point, TrajectoryPoint)
    assert point.losses["law"].value == 1.5
    assert (point.losses["code"].value, point.losses["code"].stderr) == (2.0, 0.25)
    result = lines.hear(
        json.dumps({"status": "succeeded", "train_tokens": END, "losses": {"law": 1}, "epochs": {"law": 0.5}})
    )
    assert isinstance(result, ProxyResult)
    assert result.epochs == {"law": 0.5}
    assert [point.train_tokens for point in result.trajectory] == [9, END]
    assert lines.hear('{"status": "nonsense"}') is None  # the result was the last word


@pytest.mark.parametrize(
    "line", ["Epoch 1 of 3", "", "{'train_tokens': 3}", '["train_tokens", 3]', "17", '{"train_tokens"', "{" * 5000]
)
def test_what_is_no_json_object_is_for_people(lines: TrainerLines, line: str) -> None:
    assert lines.hear(line) is None


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('{"train_tokens": 3, "step": 3}', "step: Extra inputs are not permitted"),
        ('{"train_tokens": "3"}', "train_tokens: Input should be a valid integer"),
        ('{"train_tokens": -1}', "train_tokens: Input should be greater than or equal to 0"),
        ('{"train_tokens": 1e9}', "train_tokens is 1000000000; the run has 64"),
        ('{"train_tokens": 3, "losses": {}}', "'losses' names no target"),
        ('{"train_tokens": 3, "losses": [1.2]}', "'losses' must be an object of numbers by name"),
        ('{"train_tokens": 3, "losses": {"law": null}}', "losses.law.value: Input should be a valid number"),
        ('{"train_tokens": 3, "losses": {"law": "1"}}', "losses.law.value: Input should be a valid number"),
        ('{"train_tokens": 3, "losses": {"law": {"mean": 1}}}', "losses.law.value: Field required"),
        ('{"losses": {"law": 1}}', "train_tokens: Field required"),
        ('{"status": "done", "train_tokens": 64, "losses": {"law": 1}}', "status: Input should be"),
        ('{"status": "succeeded", "train_tokens": 64}', "a run that succeeded must report losses"),
        ('{"status": "succeeded", "train_tokens": 0, "losses": {"a": 1}}', "it succeeded after 0 tokens of 64"),
    ],
)
def test_a_wrong_object_is_an_error_that_quotes_the_line(lines: TrainerLines, line: str, sentence: str) -> None:
    lines.hear("a line for people")
    with pytest.raises(WrongLine) as raised:
        lines.hear(line)
    said = str(raised.value)
    assert said.startswith("line 2 of the trainer's output, " + repr(line))
    assert sentence in said
    assert 'a line may be {"train_tokens": N}' in said
    assert lines.result is None


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", '{"value": NaN}', "1e999"])
@pytest.mark.parametrize("status", ["", '"status": "succeeded", '])
def test_a_loss_that_is_not_finite_means_diverged(lines: TrainerLines, number: str, status: str) -> None:
    lines.hear('{"train_tokens": 9, "losses": {"law": 1.5}}')
    result = lines.hear(f'{{{status}"train_tokens": 12, "losses": {{"code": 1, "law": {number}}}}}')
    assert isinstance(result, ProxyResult)
    assert result.status == "diverged"
    assert result.losses == {}
    assert result.message == "the trainer reported a loss of 'law' that is not finite after 12 tokens"
    assert [point.train_tokens for point in result.trajectory] == [9]


def test_a_trainer_may_say_by_itself_that_it_diverged(lines: TrainerLines) -> None:
    lines.hear('{"train_tokens": 7}')
    result = lines.hear('{"status": "diverged", "message": "gradient norm 1e30", "losses": {"law": NaN}}')
    assert isinstance(result, ProxyResult)
    assert (result.status, result.train_tokens, result.message) == ("diverged", 7, "gradient norm 1e30")


def test_a_measurement_at_the_end_is_a_result_and_an_earlier_one_is_not(lines: TrainerLines) -> None:
    assert lines.last_point_as_result() is None
    lines = TrainerLines(made_up_run().settings.model_copy(update={"train_tokens": 10 * STEP_TOKENS + 3}))
    lines.hear(f'{{"train_tokens": {9 * STEP_TOKENS}, "losses": {{"law": 2.5}}}}')
    assert lines.last_point_as_result() is None
    lines.hear(f'{{"train_tokens": {10 * STEP_TOKENS}, "losses": {{"law": 1.5}}}}')  # whole steps only
    result = lines.last_point_as_result()
    assert result is not None
    assert result.losses["law"].value == 1.5
    assert len(result.trajectory) == 2


def test_a_resumed_trainer_may_repeat_its_measurements(lines: TrainerLines) -> None:
    for tokens, loss in ((9, 1.5), (20, 1.25), (9, 1.5), (END, 1)):
        lines.hear(f'{{"train_tokens": {tokens}, "losses": {{"law": {loss}}}}}')
    result = lines.last_point_as_result()
    assert result is not None
    assert [(point.train_tokens, point.losses["law"].value) for point in result.trajectory] == [
        (9, 1.5), (20, 1.25), (END, 1.0),
    ]  # fmt: skip
