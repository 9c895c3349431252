"""Ctrl-C while several processes fit laws: one sentence, from one process, and nobody is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.app.swarm_tables import run_rows, write_swarm
from tests.waiting import alive, soon, spawned_by


def while_processes_start(command: subprocess.Popen[str]) -> list[str]:
    assert soon(lambda: bool(spawned_by(command.pid)), 60)
    return []


def while_fits_run(command: subprocess.Popen[str]) -> list[str]:
    assert command.stderr is not None
    return [command.stderr.readline()]


@pytest.mark.skipif(os.cpu_count() == 1, reason="fits share several cores or need no other process")
@pytest.mark.parametrize("moment", [while_processes_start, while_fits_run])
def test_an_interrupt_is_told_once_and_ends_every_process_that_fits(
    tmp_path: Path, moment: Callable[[subprocess.Popen[str]], list[str]]
) -> None:
    swarm = write_swarm(tmp_path / "swarm", run_rows(300))
    command = [sys.executable, "-m", "app.cli", "compare", str(swarm)]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        told = moment(process)
        workers = spawned_by(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr is not None
        told += process.stderr.read().splitlines()
    assert told.pop() == "mixwright: interrupted"
    assert all(line.startswith("Comparing laws") for line in told)  # its progress
    assert not any(map(alive, workers))
