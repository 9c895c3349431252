"""What two attempts at one batch say arrives once, in whatever order it comes."""

from __future__ import annotations

import pytest

from proxy_training.engines.messages import MESSAGES, BatchOver, Ended, Message, PointMeasured, Progressed
from proxy_training.engines.told_once import ToldOnce
from proxy_training.errors import CorpusError
from proxy_training.spec import Measured, ProxyResult, TrajectoryPoint
from proxy_training.work import Failure
from tests.proxy_training.training_cases import Recorder

LOSSES = {"a": Measured(value=1.0)}


def lines(*messages: Message) -> list[str]:
    return [MESSAGES.dump_json(message).decode() for message in messages]


def point(tokens: int) -> TrajectoryPoint:
    return TrajectoryPoint(train_tokens=tokens, losses=LOSSES)


def result(tokens: int = 40) -> ProxyResult:
    return ProxyResult(status="succeeded", train_tokens=tokens, losses=LOSSES)


def test_a_second_attempt_repeats_nothing_to_the_watcher() -> None:
    watcher = Recorder()
    told = ToldOnce(["0", "1"], watcher)
    first = lines(
        Progressed(run_ids=("0", "1"), train_tokens=10),
        PointMeasured(run_id="0", point=point(10)),
        Progressed(run_ids=("0", "1"), train_tokens=20),
        Ended(run_id="1", result=result()),
    )
    second = lines(Progressed(run_ids=("0",), train_tokens=30), Ended(run_id="0", result=result()))
    told.take(first)
    told.take(first + second)
    assert watcher.progress == {"0": [10, 20, 30], "1": [10, 20]}
    assert watcher.points == [("0", point(10))]
    assert set(watcher.outcomes) == {"0", "1"}


def test_a_late_failure_of_a_dead_attempt_does_not_undo_a_result() -> None:
    watcher = Recorder()
    told = ToldOnce(["0"], watcher)
    told.take(lines(Ended(run_id="0", result=result()), Ended(run_id="0", reason="the disk is full")))
    told.take(lines(PointMeasured(run_id="0", point=point(20)), Progressed(run_ids=("0",), train_tokens=30)))
    told.fail_the_rest("lost")
    assert watcher.result("0") == result()
    assert watcher.points == []
    assert watcher.progress == {}


def test_runs_that_are_over_or_unwanted_are_not_for_the_next_attempt() -> None:
    watcher = Recorder(drop={"1": 0, "of another batch": 0})
    told = ToldOnce(["0", "1", "2"], watcher)
    told.take(lines(Ended(run_id="0", result=result())))
    assert told.orders().unwanted == ("0", "1")
    assert not told.nobody_wants_more()
    told.fail_the_rest("the node died")
    assert watcher.outcomes["2"] == Failure("the node died", retry=True)
    assert "1" not in watcher.outcomes
    assert told.nobody_wants_more()


def test_a_stop_reaches_the_orders() -> None:
    told = ToldOnce(["0"], Recorder(stop_after_tokens=0))
    assert told.orders().stopping
    assert told.nobody_wants_more()


def test_what_broke_the_batch_is_raised_as_what_it_was() -> None:
    told = ToldOnce(["0"], Recorder())
    with pytest.raises(CorpusError, match="cut short"):
        told.take(lines(BatchOver.broken_by(CorpusError("the shard is cut short"))))
