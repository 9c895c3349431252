"""The log of an agent, as a machine reads it; and the pauses between tries."""

from __future__ import annotations

import json
import logging
import random
import sys

from proxy_training.agent_log import JsonFormatter
from proxy_training.backoff import Backoff


def test_a_line_is_json_with_the_event_and_what_else_it_carries() -> None:
    extra = {"event": "run_lost", "run_id": "r1"}
    record = logging.getLogger("x").makeRecord(
        "x", logging.WARNING, "f", 1, "Run %s was lost", ("r1",), None, extra=extra
    )
    line = json.loads(JsonFormatter().format(record))
    assert line.pop("timestamp").endswith("+00:00")
    assert line == {"level": "warning", "message": "Run r1 was lost", "event": "run_lost", "run_id": "r1"}


def test_an_exception_stays_on_its_line() -> None:
    try:
        raise ValueError("inner\nwords")
    except ValueError:
        record = logging.getLogger("x").makeRecord("x", logging.ERROR, "f", 1, "broke", (), sys.exc_info())
    text = JsonFormatter().format(record)
    assert "\n" not in text
    assert "ValueError: inner" in json.loads(text)["exception"]


def test_pauses_double_up_to_the_longest_and_start_anew_after_success() -> None:
    class AtMost(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return max(a, b)

    backoff = Backoff(0.5, 3.0, AtMost())
    assert [backoff.pause_seconds() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    backoff.reset()
    assert backoff.pause_seconds() == 0.5


def test_pauses_differ_between_agents_by_at_most_a_half() -> None:
    pauses = [Backoff(1.0, 1.0, random.Random(seed)).pause_seconds() for seed in range(50)]
    assert all(0.5 <= pause <= 1.0 for pause in pauses)
    assert len(set(pauses)) == 50
