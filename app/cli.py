"""The ``mixwright`` command: gathers the commands that are installed and turns every error into one sentence.

Commands come from the modules of ``app/commands`` and from installed entry points of the group ``mixwright.commands``;
both give ``register(app: typer.Typer) -> None``. One whose packages are missing still shows, and says what it needs.
"""

from __future__ import annotations

import io
import os
import pkgutil
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.metadata import entry_points, version
from typing import Annotated, NoReturn

import typer

from app import commands
from app.cli_errors import INTERRUPTED, sentence_of, unavailable

GROUP = "mixwright.commands"
_TRACEBACK = "MIXWRIGHT_TRACEBACK"

Register = Callable[[typer.Typer], None]


def main() -> NoReturn:
    """Run the command line of this process and leave with its exit code."""
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot show must not end the program
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; an error is one sentence on stderr."""
    try:
        code = build_app()(args=list(arguments), prog_name="mixwright", standalone_mode=False)
        sys.stdout.flush()  # here a full disk or a closed pipe is still an error that can be told
    except BrokenPipeError:
        _drop_stdout()
        return 1
    except (Exception, KeyboardInterrupt) as error:
        if os.environ.get(_TRACEBACK):
            raise
        code, sentence = sentence_of(error)
        typer.echo(f"mixwright: {sentence}", err=True)
        return code
    if code == INTERRUPTED:  # typer has turned the KeyboardInterrupt into this code
        typer.echo("mixwright: interrupted", err=True)
    return code if isinstance(code, int) else 0


def build_app() -> typer.Typer:
    """The command line with every command that is installed."""
    app = typer.Typer(
        name="mixwright",
        help="Chooses the data mixture of language-model pretraining.",
        add_completion=False,
        rich_markup_mode=None,  # plain help starts faster, and square brackets in it are text
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(_root)
    for name, load in _sources():
        try:
            load()(app)
        except Exception as error:  # a command that cannot be loaded must not take the others with it
            if os.environ.get(_TRACEBACK):
                raise
            app.command(name, help=f"Not available: {unavailable(error)}.")(_refuser(error))
    return app


def _root(
    context: typer.Context,
    show_version: Annotated[bool, typer.Option("--version", help="Show the version and leave.")] = False,
) -> None:
    if show_version:
        typer.echo(f"mixwright {version('mixwright')}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _sources() -> Iterator[tuple[str, Callable[[], Register]]]:
    """(name, function that imports the registering function) of every group of commands."""
    for module in pkgutil.iter_modules(commands.__path__, f"{commands.__name__}."):
        yield module.name.rpartition(".")[2], lambda name=module.name: import_module(name).register
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        yield entry.name, entry.load


def _refuser(error: Exception) -> Callable[[], None]:
    def refuse() -> None:
        raise error

    return refuse


def _drop_stdout() -> None:
    """Let what is still buffered go nowhere: the reader has left, and Python would complain when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
