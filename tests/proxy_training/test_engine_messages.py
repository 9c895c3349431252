"""What a trainer in another process says, and how often."""

from __future__ import annotations

import pytest

from proxy_training.engines.messages import (
    MESSAGES,
    BatchOver,
    Ended,
    Message,
    Orders,
    Progressed,
    SendingWatcher,
    deliver,
)
from proxy_training.errors import CorpusError, ProxyError, SpecError
from proxy_training.spec import Measured, ProxyResult, TrajectoryPoint
from proxy_training.work import Failure
from tests.proxy_training.training_cases import Recorder

RESULT = ProxyResult(status="succeeded", train_tokens=64, losses={"a": Measured(value=1 / 3, stderr=0.1)})
POINT = TrajectoryPoint(train_tokens=32, losses=RESULT.losses)


def watcher_at(times: list[float]) -> tuple[SendingWatcher, list[Message]]:
    sent: list[Message] = []
    clock = iter(times)
    return SendingWatcher(sent.append, Orders, lambda: next(clock)), sent


def test_progress_is_sent_ten_times_a_second_and_the_last_one_always() -> None:
    watcher, sent = watcher_at([0.0, *[at / 100 for at in range(1000)]])
    for tokens in range(1, 201):
        watcher.progressed(["a"], tokens)
    assert len(sent) < 30
    watcher.flush()
    watcher.flush()
    assert sent[-1] == Progressed(run_ids=("a",), train_tokens=200)
    assert [message.train_tokens for message in sent if isinstance(message, Progressed)].count(200) == 1


def test_progress_that_was_kept_back_goes_before_what_comes_after_it() -> None:
    watcher, sent = watcher_at([0.0, *[0.0] * 10])
    watcher.progressed(["a", "b"], 1)
    watcher.progressed(["a", "b"], 2)
    watcher.progressed(["a"], 3)
    watcher.measured("a", POINT)
    watcher.progressed(["a"], 4)
    watcher.ended("a", RESULT)
    told = [(message.kind, getattr(message, "train_tokens", None)) for message in sent]
    expected = [("progressed", tokens) for tokens in (1, 2, 3)]
    assert told == [*expected, ("measured", None), ("progressed", 4), ("ended", None)]


def test_messages_arrive_as_they_were_said() -> None:
    sent: list[Message] = []
    watcher = SendingWatcher(sent.append, Orders)
    watcher.measured("a", POINT)
    watcher.ended("a", RESULT)
    watcher.ended("b", Failure("no such domain", retry=False))
    heard = Recorder()
    for message in sent:
        deliver(MESSAGES.validate_json(message.model_dump_json()), heard)
    assert heard.points == [("a", POINT)]
    assert heard.outcomes == {"a": RESULT, "b": Failure("no such domain", retry=False)}
    assert Ended.of("a", RESULT).outcome == RESULT


@pytest.mark.parametrize("error", [CorpusError("cut short"), SpecError("no domain"), ProxyError("no GPU")])
def test_errors_of_ours_keep_their_class(error: ProxyError) -> None:
    with pytest.raises(type(error), match=f"^{error}$"):
        BatchOver.broken_by(error).raise_error()


def test_other_errors_are_named() -> None:
    with pytest.raises(ProxyError, match="ZeroDivisionError: division by zero"):
        BatchOver.broken_by(ZeroDivisionError("division by zero")).raise_error()
    BatchOver().raise_error()
