"""What ``mixwright serve`` does: one process tree with the API, its workers and, when asked, a local agent.

Everything that can be refused is refused before anything is started. The port is bound first and kept, so that it is
ours from then on. Children end with this process, also when it is killed (``app/children.py``, ``app/orphans.py``).
"""

from __future__ import annotations

import errno
import importlib.util
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from app.agent_key import agent_key
from app.children import Child, Children
from app.clock import utc_now
from app.db import Database
from app.errors import PortTaken, RefusedToStart
from app.first_key import ensure_admin_key, login_link, running_at
from app.logs import configure_logs
from app.migrate import check_version, upgrade
from app.security import check_exposure
from app.settings import ENV_PREFIX, Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

_BACKLOG = 2048
# What a folder must hold to be a tokenised corpus.
_MANIFEST = "manifest.json"
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class _Stopped(BaseException):
    """A signal asked the service to stop."""


@dataclass(frozen=True)
class LocalAgents:
    """Agents on this machine: the folder of the tokenised corpus that they train on, and how many there are."""

    corpus: Path
    count: int = 1


@dataclass(frozen=True)
class Started:
    """What a person wants to know of a service that answers."""

    url: str
    login_link: str | None  # logs in once; on the loopback only
    new_key: bool  # whether this start made the first admin key


def serve(settings: Settings, agents: LocalAgents | None, announce: Callable[[Started], None]) -> None:
    """Run the service until Ctrl-C or SIGTERM.

    Args:
        agents: local agents to start beside the API, if any.
        announce: called once the service answers.

    Raises:
        RefusedToStart: one sentence that says why; nothing was started.
    """
    if agents is not None:
        _check_agent(agents.corpus)
    with _stopped_by_signals() as asked_to_stop, _listening(settings) as listener:
        settings = settings.model_copy(update={"port": listener.getsockname()[1]})
        check_version(settings)
        check_exposure(settings, utc_now())
        with ExitStack() as stack:
            stack.enter_context(running_at(settings))
            upgrade(settings)
            configure_logs(settings)
            database = Database(settings.resolved_database_url)
            stack.callback(database.dispose)
            started = _let_in(settings, database)
            children = [_worker(settings, i) for i in range(settings.workers)]
            if agents is not None:
                key = stack.enter_context(agent_key(database, utc_now))
                children += [_agent(settings, agents.corpus, i, key) for i in range(agents.count)]
            stack.enter_context(Children(children))
            _run_api(settings, listener, asked_to_stop, lambda: announce(started))


def _let_in(settings: Settings, database: Database) -> Started:
    """On the loopback the person who starts the service gets a key and a link."""
    if not settings.on_loopback:
        return Started(settings.local_url, None, new_key=False)
    made = ensure_admin_key(settings, database, utc_now())
    return Started(settings.local_url, login_link(settings, database, utc_now(), settings.local_url), made)


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """Turn the signals into an exception that unwinds everything, and end quietly with it.

    Python drops an exception that is raised while a finaliser runs; the event tells of such a signal, too.
    """
    asked = threading.Event()

    def stop(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        asked.set()
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)  # a second one must not break the unwinding
        raise _Stopped

    before = {signum: signal.signal(signum, stop) for signum in _SIGNALS}
    try:
        yield asked
    except _Stopped:
        return
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    """The bound and listening socket of the service."""
    where = f"port {settings.port} on {settings.host}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as exc:
        raise RefusedToStart(f"the host {settings.host!r} is not known to this machine: {exc.strerror}") from exc
    with socket.socket(family, kind, protocol) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError as exc:
            if exc.errno == errno.EADDRINUSE:
                raise PortTaken(f"{where} is taken by another process; stop it or choose another with --port") from exc
            raise RefusedToStart(f"{where} cannot be bound: {exc.strerror}") from exc
        listener.set_inheritable(False)
        yield listener


def _run_api(
    settings: Settings, listener: socket.socket, asked_to_stop: threading.Event, on_started: Callable[[], None]
) -> None:
    if asked_to_stop.is_set():
        return
    # The mathematics takes seconds to import. A refusal does not wait for it, and the children import it meanwhile.
    from app.main import create_app
    from app.patience import PatientProtocol

    app = create_app(settings)
    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        # What a proxy says about the client counts where keys are wrong; only known ones are believed.
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
    )
    _Server(config, app, asked_to_stop, on_started).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Says when it answers, and ends the streams before it waits for the requests that are being answered."""

    def __init__(
        self, config: uvicorn.Config, app: FastAPI, asked_to_stop: threading.Event, on_started: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._app, self._asked_to_stop, self._on_started = app, asked_to_stop, on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._asked_to_stop.is_set():
            self.should_exit = True
            return
        await super().startup(sockets)
        self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.closing.set()
        await super().shutdown(sockets)


def _worker(settings: Settings, number: int) -> Child:
    command = [sys.executable, "-m", "app.worker_process", "--parent", str(os.getpid())]
    return Child(f"worker-{number + 1}", command, _child_environment(settings))


def _agent(settings: Settings, corpus: Path, number: int, key: str) -> Child:
    command = [sys.executable, "-m", "app.cli", "agent", "--corpus", str(corpus.absolute())]
    command += ["--server", settings.local_url, "--parent", str(os.getpid())]
    # Undelivered results of its own: two agents on one folder would deliver each other's.
    command += ["--spool", str(settings.data_dir.absolute() / f"agent-{number + 1}")]
    environment = _child_environment(settings) | {f"{ENV_PREFIX}API_KEY": key}
    return Child(f"agent-{number + 1}", command, environment)


def _check_agent(corpus: Path) -> None:
    if not (corpus / _MANIFEST).is_file():
        why = f"holds no {_MANIFEST}" if corpus.is_dir() else "is not there"
        raise RefusedToStart(f"the corpus folder {corpus} {why}; make one with: mixwright corpus build")
    if importlib.util.find_spec("torch") is None:
        raise RefusedToStart("--agent needs torch; install it with: pip install 'mixwright[agent]'")


def _child_environment(settings: Settings) -> dict[str, str]:
    """Our settings as the child will read them; without a key. Those of trackers have names of their own and stay."""
    secret = {"api_key", "mlflow_tracking_token", "wandb_api_key"}
    ours = settings.model_dump(mode="json", exclude=secret | {"allowed_hosts", "trusted_proxies"}, exclude_none=True)
    ours["data_dir"] = str(settings.data_dir.absolute())
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(ENV_PREFIX)}
    # Many threads on a loaded machine are slower than one: workers are processes already.
    kept.setdefault("OMP_NUM_THREADS", "1")
    return kept | {f"{ENV_PREFIX}{name.upper()}": _text(value) for name, value in ours.items()}


def _text(value: object) -> str:
    """A setting as a variable; a list is comma-separated."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
