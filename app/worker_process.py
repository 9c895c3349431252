"""The job process: ``python -m app.worker_process``. Ends on SIGTERM, or when the process that started it is gone."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from functools import partial
from types import FrameType

from app.orphans import exit_with_parent


def main(arguments: list[str] | None = None) -> int:
    """Run a worker with settings from the environment until it is told to stop."""
    parser = argparse.ArgumentParser(prog="python -m app.worker_process", description=__doc__)
    parser.add_argument("--parent", type=int, metavar="PID", help="end when this parent process is gone")
    given = parser.parse_args(arguments)
    if given.parent is not None:
        exit_with_parent(given.parent)
    # The mathematics takes seconds to import; by now the parent is watched.
    from app.errors import RefusedToStart
    from app.logs import configure_logs
    from app.settings import read_settings
    from app.worker import GivenUp, Stopped, Worker

    def stop(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not break the giving back
        stopping.set()
        raise Stopped

    def give_up(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        raise GivenUp

    # Signals are handled by the thread that computes: this one.
    computing, stopping = threading.get_ident(), threading.Event()
    try:
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGUSR1, give_up)
        settings = read_settings()
        configure_logs(settings)
        interrupt = partial(signal.pthread_kill, computing, signal.SIGUSR1)
        with Worker(settings, interrupt=interrupt, stopping=stopping) as worker:
            worker.run()
    except RefusedToStart as exc:
        sys.stderr.write(f"mixwright: {exc.detail}\n")
        return 1
    except (Stopped, KeyboardInterrupt):
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
