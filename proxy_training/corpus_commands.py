"""``mixwright corpus build`` and ``mixwright corpus info``."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import DownloadColumn
from rich.table import Table
from rich.text import Text  # names may hold square brackets, which rich would read as markup

from proxy_training.command_bar import progress_bar
from proxy_training.command_errors import one_sentence

# The packages that read and write corpora are imported when a command runs, so that `mixwright --help` is fast.
if TYPE_CHECKING:
    from proxy_training.build_progress import OnProgress
    from proxy_training.manifest import Manifest


def register(app: typer.Typer) -> None:
    """Add the group ``corpus`` to the command line."""
    corpus = typer.Typer(help="Text of several domains as tokenised corpora.", no_args_is_help=True)
    corpus.command("build")(build)
    corpus.command("info")(info)
    app.add_typer(corpus, name="corpus")


def build(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="Names the domains and their files.")],
    out: Annotated[Path, typer.Option(help="The corpus folder to make.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the corpus that stands there.")] = False,
    processes: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Parse and tokenise in so many [default: one a core].")
    ] = None,
) -> None:
    """Build a tokenised corpus: no exact duplicates, training and validation parts that share no document."""
    from proxy_training.corpus_build import build_corpus
    from proxy_training.corpus_config import read_config

    with one_sentence(), _interrupted_by_sigterm():
        parsed = read_config(config)
        with _bar() as on_progress:
            cores = len(os.sched_getaffinity(0))  # a container may have fewer than the machine
            manifest = build_corpus(parsed, out, overwrite, on_progress, processes or cores)
    _show(out, manifest)


def info(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A corpus folder.")],
    verify: Annotated[bool, typer.Option("--verify", help="Read every byte and compare it with its checksum.")] = False,
) -> None:
    """Show what a corpus holds, after checking that its files are whole."""
    from proxy_training.corpus_read import Corpus

    with one_sentence(), Console(stderr=True).status("Checking the corpus"):
        corpus = Corpus.open(folder, verify)
    _show(folder, corpus.manifest)
    if verify:
        Console().print("Every byte is as it was built.")


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the command as Ctrl-C does: with nothing left behind."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _bar() -> Iterator[OnProgress]:
    """A progress bar over the bytes of the text files."""
    from proxy_training.build_progress import BuildProgress

    with progress_bar(DownloadColumn()) as progress:
        task = progress.add_task("Reading", total=None)

        def on_progress(at: BuildProgress) -> None:
            progress.update(task, description=at.domain, completed=at.read_bytes, total=at.total_bytes)

        yield on_progress


def _show(folder: Path, manifest: Manifest) -> None:
    table = Table()
    table.add_column("domain", overflow="fold")
    for heading in ("documents", "train tokens", "validation tokens", "bytes a token", "duplicates dropped"):
        table.add_column(heading, justify="right")
    for domain in manifest.domains:
        counts = (
            domain.train.documents + domain.validation.documents,
            domain.train.tokens,
            domain.validation.tokens,
        )
        bytes_a_token = f"{domain.train.bytes / domain.train.tokens:.3g}"
        shown = (*(f"{count:,}" for count in counts), bytes_a_token, f"{domain.duplicates_dropped:,}")
        table.add_row(Text(domain.name), *shown)
    console = Console()
    console.print(table)
    for domain in manifest.domains:
        origin = f"{domain.name}: {domain.licence or 'no licence stated'} ({domain.source or 'no source stated'})"
        console.print(origin, markup=False, highlight=False, soft_wrap=True)
    console.print(f"tokenizer    {manifest.tokenizer}, {manifest.vocab_size} tokens", markup=False, highlight=False)
    console.print(f"corpus hash  {manifest.corpus_hash}", highlight=False)
    console.print(f"folder       {folder}", markup=False, highlight=False, soft_wrap=True)
