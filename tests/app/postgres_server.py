"""A PostgreSQL server of our own, for tests and benchmarks: made in a temporary folder, gone at the end.

It listens on a port of 127.0.0.1 that nobody else is given, and trusts everybody there. It survives being killed, not
the crash of the machine: nothing is forced onto the disk.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.quiet_ports import quiet_port

# Where distributions keep programs that they leave out of PATH.
_USUAL_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")
# Memory, where there is enough: a database is some 300 files, and every test has its own.
_MEMORY = Path("/dev/shm")
_ENOUGH_BYTES = 2 * 2**30
_USER = "postgres"
_START_SECONDS = 60
_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "fsync": "off",
    "full_page_writes": "off",
    # A killed server keeps what it had written, hence this one stays on: without fsync it costs nothing.
    "synchronous_commit": "on",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "1h",
}
# Reads a line when all is in order. When we are killed the pipe closes without one: then it cleans up after us.
_GUARD = 'read -r _ || { kill -INT "$1"; while kill -0 "$1"; do sleep 0.1; done; rm -rf "$2"; }'


class NoPostgres(Exception):
    """PostgreSQL cannot be started here; the text says why."""


class PostgresServer:
    """One server and its data. :meth:`kill` and :meth:`start` show what a crash does; :meth:`stop` removes all of it.

    Raises:
        NoPostgres: its programs are not installed, or it does not start.
    """

    def __init__(self) -> None:
        self._programs = _find_programs()
        self.folder = Path(tempfile.mkdtemp(prefix="mw-pg-", dir=_memory()))
        self._server: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self.port = quiet_port()
        try:
            if os.getuid() == 0:
                shutil.chown(self.folder, _USER)
            self._make_data()
            self.start()
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """Of the server's own database; its user may do everything."""
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/{_USER}"

    def start(self) -> None:
        """Start the server and wait until it answers; after :meth:`kill` it recovers what was committed."""
        options = [part for name, value in _OPTIONS.items() for part in ("-c", f"{name}={value}")]
        command = [str(self._programs / "postgres"), "-D", str(self._data), "-p", str(self.port), *options]
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._server is None or self._server.poll() is not None:
                # The processes of a killed server take a moment to end, and until then a new one ends at once.
                self._let_go()
                self._server = self._spawn(command)
                guard = ["sh", "-c", _GUARD, "guard", str(self._server.pid), str(self.folder)]
                self._guard = self._spawn(guard, stdin=subprocess.PIPE)
            if time.monotonic() > deadline:
                raise NoPostgres(f"PostgreSQL does not start: {self._last_words()}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End the server as ``kill -9`` does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End the server in order and remove its data."""
        self._end(signal.SIGINT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, signum: signal.Signals) -> None:
        if self._server is not None:
            self._server.send_signal(signum)
            self._server.wait()
        self._let_go()

    def _let_go(self) -> None:
        if self._guard is not None:
            self._guard.communicate(b"\n")
        self._server = self._guard = None

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _log(self) -> Path:
        return self.folder / "log"

    def _make_data(self) -> None:
        command = [str(self._programs / "initdb"), "-D", str(self._data), "-U", _USER]
        command += ["--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]
        if self._spawn(command).wait() != 0:
            raise NoPostgres(f"initdb failed: {self._last_words()}")

    def _spawn(self, command: list[str], stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Start a program as a user who is not root, whom PostgreSQL refuses."""
        as_user = {"user": _USER, "group": _USER, "extra_groups": []} if os.getuid() == 0 else {}
        with self._log.open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=stdin,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                # A group of its own: Ctrl-C in the terminal must not reach it before the tests have let go.
                process_group=0,
                **as_user,
            )

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace")[-1000:].strip() if self._log.exists() else ""


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A running server for the body of the ``with``.

    Raises:
        NoPostgres: saying why there is none.
    """
    server = PostgresServer()
    try:
        yield server
    finally:
        server.stop()


def _find_programs() -> Path:
    """The folder of the newest installed PostgreSQL."""
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else []
    places += [path for pattern in _USUAL_PLACES for path in Path("/").glob(pattern.lstrip("/"))]
    usable = [path for path in places if (path / "initdb").exists() and (path / "postgres").exists()]
    if not usable:
        raise NoPostgres("PostgreSQL is not installed: no initdb in PATH or /usr/lib/postgresql")
    return max(usable, key=_version)


def _memory() -> Path | None:
    enough = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _ENOUGH_BYTES
    return _MEMORY if enough else None


def _version(folder: Path) -> int:
    return max((int(number) for number in re.findall(r"\d+", str(folder))), default=0)
