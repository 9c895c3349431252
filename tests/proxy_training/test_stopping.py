"""Requests to stop: by signal, by the end of the parent, and heard in the middle of a pause."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from proxy_training.stopping import StopRequest


@pytest.fixture
def _handlers() -> Iterator[None]:
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT)}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.mark.usefixtures("_handlers")
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_a_request_and_a_ctrl_c_after_it_ends_the_process(signum: signal.Signals) -> None:
    stop = StopRequest()
    stop.listen()
    assert not stop.asked
    os.kill(os.getpid(), signum)
    assert stop.asked
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    os.kill(os.getpid(), signal.SIGTERM)  # said twice, it is no other wish


def test_the_end_of_the_parent_is_a_request() -> None:
    assert not StopRequest(os.getppid()).asked
    assert StopRequest(os.getpid()).asked  # no process is its own parent


@pytest.mark.usefixtures("_handlers")
def test_a_pause_ends_with_the_request() -> None:
    stop = StopRequest()
    stop.listen()
    signal.signal(signal.SIGALRM, lambda *_: stop.ask())
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    began = time.monotonic()
    stop.wait(30)
    assert time.monotonic() - began < 5


def test_a_pause_without_a_request_lasts_as_long_as_it_says() -> None:
    began = time.monotonic()
    StopRequest().wait(0.15)
    assert time.monotonic() - began >= 0.15
