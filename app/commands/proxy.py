"""``mixwright proxy specs`` and ``proxy table``: from mixtures to runs, and from their results to a swarm folder.

``proxy train``, between the two, comes with proxy training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.command_options import with_records
from app.mixture_options import MixtureOptions
from app.proxy_options import SettingsOptions


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    group = typer.Typer(help="Proxy runs by files alone, without a server.", no_args_is_help=True)
    for command in (specs, table):
        group.command()(with_records(command))
    app.add_typer(group, name="proxy")


def specs(
    corpus: Annotated[Path, typer.Option(metavar="DIR", help="The tokenised corpus that the runs are for.")],
    out: Annotated[Path, typer.Option(metavar="SPECS.jsonl", help="Where the runs go, a line each.")],
    asked: MixtureOptions,
    wanted: SettingsOptions,
    train_seed: Annotated[
        list[int] | None, typer.Option(min=0, help="Train every mixture with this seed; repeatable [default: 0].")
    ] = None,
    prefix: Annotated[str, typer.Option(help="How the names of a design's runs begin.")] = "mix",
) -> None:
    """Write runs to train: mixtures of a table or of a design, over the domains of a corpus."""
    from app import atomic_files, proxy_specs
    from app.formats.corpus_manifest import read_corpus
    from app.formats.run_lines import lines_of
    from app.terminal import report_console, say

    if out.exists():
        raise FileExistsError(f"{out} is there already; name another file, so that no result loses its spec")
    atomic_files.check_writable(out)
    opened = read_corpus(corpus)
    settings = proxy_specs.shared_settings(opened, wanted)
    mixtures = proxy_specs.wanted_mixtures(opened, asked, prefix)
    made = proxy_specs.specs_of(mixtures, settings, train_seed or [0])
    atomic_files.write_text(out, lines_of(made))
    params, tokens = settings.model.non_embedding_params, settings.train_tokens
    sentence = f"Wrote {len(made)} runs of {params:,} parameters and {tokens:,} tokens to {out}."
    say(
        report_console(), f"{sentence} To train them: mixwright proxy train {out} --corpus {corpus} --out RESULTS.jsonl"
    )


def table(
    results: Annotated[
        list[Path],
        typer.Argument(metavar="RESULTS.jsonl...", help="As 'proxy train' and 'experts evaluate' write them."),
    ],
    specs: Annotated[list[Path], typer.Option(metavar="SPECS.jsonl", help="What was trained; repeatable.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="The swarm folder to write.")],
    corpus: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The corpus; it says how many tokens each domain has.")
    ] = None,
    minimize: Annotated[
        list[str] | None, typer.Option(metavar="METRIC", help="A metric that is better when smaller; repeatable.")
    ] = None,
    trajectory: Annotated[
        bool, typer.Option("--trajectory", help="Also a row for every point measured on the way.")
    ] = False,
) -> None:
    """Write results as a swarm folder, for 'mixwright compare FOLDER' and 'mixwright recommend FOLDER'."""
    from app.formats.corpus_manifest import read_corpus
    from app.formats.run_lines import read_run_lines
    from app.proxy_table import TableWish, write_table
    from app.report_parts import show_swarm
    from app.terminal import report_console, say
    from proxy_training.spec import NamedResult, NamedSpec

    wish = TableWish(
        specs=read_run_lines(NamedSpec, specs),
        results=read_run_lines(NamedResult, results),
        corpus=None if corpus is None else read_corpus(corpus),
        minimised=tuple(minimize or ()),
        trajectory=trajectory,
    )
    swarm = write_table(wish, out)
    console = report_console()
    show_swarm(console, swarm, swarm.remarks)
    only_merged = all(result.fidelity == "merged" for result in wish.results.values())
    say(console, f"To judge the laws on it: mixwright compare {out}{' --fidelity merged' if only_merged else ''}")
