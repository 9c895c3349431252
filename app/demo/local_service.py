"""A service of our own for the demo: ``mixwright serve`` with a local agent, as real processes.

The service ends with this process, however that one ends; its log goes to a file beside its data.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.client import Client
from app.demo.errors import DemoFailed
from app.local_key import local_key

_START_SECONDS = 180.0  # a busy machine takes a minute to import all that it starts
_STOP_SECONDS = 20.0
# One a core, and two are enough: the demo is made for two cores.
_AGENTS = min(2, os.cpu_count() or 1)
_ANNOUNCEMENT = "Mixwright is at "


@dataclass(frozen=True)
class LocalService:
    """A service that answers at ``url``."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    data_dir: Path

    @property
    def api_key(self) -> str | None:
        """The admin key that the service made at its first start."""
        return local_key(self.data_dir)

    def login_link(self) -> str:
        """A link to the dashboard that logs in once, within 15 minutes."""
        command = [sys.executable, "-m", "app.cli", "login-link", "--data-dir", str(self.data_dir)]
        done = subprocess.run(command, env=_environment(), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise DemoFailed(done.stderr.strip().removeprefix("mixwright: "))
        return done.stdout.strip()


@contextmanager
def local_service(data_dir: Path, corpus: Path, port: int | None) -> Iterator[LocalService]:
    """Start the service and its agent, wait until it answers, and stop both at the end.

    Args:
        port: None for the usual one or, when that is taken, a free one.

    Raises:
        DemoFailed: with the service's own last words.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    log = data_dir / "service.log"
    process = _start(data_dir, corpus, port, log)
    try:
        try:
            url = _wait_for_address(process, log)
        except DemoFailed:
            if port is not None or "is taken" not in _last_line(log):
                raise
            process = _start(data_dir, corpus, 0, log)
            url = _wait_for_address(process, log)
        with Client(url) as client:
            client.wait_until_ready(_START_SECONDS)
        yield LocalService(url, process, log, data_dir)
    finally:
        _stop(process)


def check_port(port: int | None) -> None:
    """Refuse a taken port before minutes of work, not after them; the service itself binds it later.

    Raises:
        DemoFailed: naming the port.
    """
    if port:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as exc:
                raise DemoFailed(f"port {port} on 127.0.0.1 cannot be used: {exc.strerror}; choose another") from exc


def _start(data_dir: Path, corpus: Path, port: int | None, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "app.cli", "serve", "--host", "127.0.0.1", "--data-dir", str(data_dir)]
    command += ["--agent", str(corpus), "--agents", str(_AGENTS), "--parent", str(os.getpid())]
    if port is not None:
        command += ["--port", str(port)]
    # Its own link to log in stands there too.
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        # A group of its own: Ctrl-C reaches the demo alone, which then ends the service in order.
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=_environment(), process_group=0
        )


def _environment() -> dict[str, str]:
    """Settings from outside are for other services than the demo's own."""
    return {name: value for name, value in os.environ.items() if not name.upper().startswith("MIXWRIGHT_")}


def _wait_for_address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        for line in log.read_text(errors="replace").splitlines():
            if line.startswith(_ANNOUNCEMENT):
                return line.removeprefix(_ANNOUNCEMENT).split(" ", 1)[0]
        if process.poll() is not None:
            raise DemoFailed(f"the service did not start: {_last_line(log)}")
        time.sleep(0.1)
    raise DemoFailed(f"the service did not start within {_START_SECONDS:g} seconds; its log is {log}")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("mixwright: ") if lines else "it said nothing"


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
