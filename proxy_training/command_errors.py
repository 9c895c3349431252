"""Commands of this room end an error as one sentence on stderr and exit code 1."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from proxy_training.errors import ProxyError

FAILED = 1


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn a ``ProxyError`` raised inside into ``mixwright: <sentence>`` and exit code 1.

    The command line of the service cannot know this room's errors: it must not import it.
    """
    try:
        yield
    except ProxyError as error:
        typer.echo(f"mixwright: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(FAILED) from error
