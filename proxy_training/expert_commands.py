"""``mixwright experts``: one small model a domain as a cheap stand-in for runs on mixtures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from proxy_training.command_bar import progress_bar
from proxy_training.command_errors import one_sentence

# torch is imported when a command runs, so that `mixwright --help` is fast.
if TYPE_CHECKING:
    from proxy_training.corpus_read import Corpus

CorpusFolder = Annotated[Path, typer.Option("--corpus", metavar="DIR", help="The tokenised corpus.")]
Specs = Annotated[Path, typer.Argument(metavar="SPECS.jsonl", help="A run a line, as 'proxy specs' writes them.")]
ExpertsFile = Annotated[Path, typer.Argument(metavar="EXPERTS.npz", help="Made by 'mixwright experts train'.")]


def register(app: typer.Typer) -> None:
    """Add the group ``experts`` to the command line."""
    experts = typer.Typer(help="One small model a domain, as a cheap stand-in for runs.", no_args_is_help=True)
    experts.command("train")(train)
    experts.command("evaluate")(evaluate)
    experts.command("log-probs")(log_probs)
    app.add_typer(experts, name="experts")


def train(
    specs: Specs,
    corpus: CorpusFolder,
    out: Annotated[Path, typer.Option(metavar="EXPERTS.npz", help="Where the experts go.")],
    base_tokens: Annotated[
        int, typer.Option(min=0, help="How many of a run's tokens the experts see together, before they part.")
    ] = 0,
    base_weights: Annotated[
        list[str] | None,
        typer.Option(metavar="DOMAIN=SHARE", help="Weights of the common start [default: every domain alike]."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Of initial weights and the order of text.")] = 0,
) -> None:
    """Train one model a domain from a common start, of the size and length of the runs that they are to stand for."""
    from proxy_training.devices import training_device
    from proxy_training.experts import ExpertPlan, train_experts
    from proxy_training.run_files import read_specs

    with one_sentence():
        opened = _open(corpus)
        settings = read_specs(specs)[0].spec.settings
        start = _shares(base_weights, opened.domains)
        plan = ExpertPlan(settings=settings, base_weights=start, base_tokens=base_tokens, seed=seed)
        with _bar("Training experts") as on_step:
            experts = train_experts(opened, plan, training_device(), on_step)
        _write(out, experts.save)
    runs = experts.trained_tokens / settings.train_tokens
    typer.echo(
        f"{len(experts.domains)} experts of {settings.model.non_embedding_params:,} parameters in {out}, trained on "
        f"{experts.trained_tokens:,} tokens in all: the cost of {runs:.2f} runs."
    )


def evaluate(
    experts: ExpertsFile,
    specs: Specs,
    corpus: CorpusFolder,
    out: Annotated[Path, typer.Option(metavar="RESULTS.jsonl", help="Where results go; those there are kept.")],
) -> None:
    """Measure, for the mixture of every run, the average of the experts: a cheap stand-in, marked as merged."""
    from proxy_training.devices import training_device
    from proxy_training.expert_averages import average_losses, validation_of, weights_of
    from proxy_training.experts import Experts
    from proxy_training.run_files import open_results, read_specs
    from proxy_training.spec import NamedResult, ProxyResult

    with one_sentence(), ExitStack() as opened:
        loaded = Experts.load(experts)
        asked = read_specs(specs)
        validation = validation_of(loaded, _open(corpus))
        results = opened.enter_context(open_results(out))  # last: what is refused leaves no empty file of results
        runs = results.unknown(asked, "merged")
        measured = average_losses(loaded, weights_of(loaded, runs), validation, training_device())
        tokens, diverged = loaded.plan.settings.train_tokens, 0
        with _bar("Measuring averages") as on_step:
            for done, (run, losses) in enumerate(zip(runs, measured, strict=True), start=1):
                told = ProxyResult(status="diverged", train_tokens=tokens, message="the average has diverged")
                diverged += losses is None
                if losses is not None:
                    told = ProxyResult(status="succeeded", train_tokens=tokens, losses=losses)
                results.add(NamedResult.of(run, told, fidelity="merged"))
                on_step(done, len(runs))
    there = f", {len(asked) - len(runs)} were there already" if len(asked) > len(runs) else ""
    typer.echo(f"{len(runs)} mixtures measured by averages of experts{there}: {out} ('fidelity' is 'merged' in it).")
    if diverged:
        typer.echo(f"{diverged} averages diverged: their lines hold no losses; a lower learning rate may help.")


def log_probs(
    experts: ExpertsFile,
    corpus: CorpusFolder,
    out: Annotated[Path, typer.Option(metavar="LOGPROBS.npz", help="For 'mixwright mixmin'.")],
) -> None:
    """Let every expert judge the validation text: what MixMin finds weights from."""
    from proxy_training.devices import training_device
    from proxy_training.expert_averages import log_probabilities
    from proxy_training.experts import Experts

    with one_sentence():
        judged = log_probabilities(Experts.load(experts), _open(corpus), training_device())
        _write(out, judged.save)
    typer.echo(f"{len(judged.domains)} experts judged {len(judged.tokens):,} sequences: {out}")


def _open(folder: Path) -> Corpus:
    from proxy_training.corpus_read import Corpus

    return Corpus.open(folder)


def _shares(given: list[str] | None, domains: tuple[str, ...]) -> dict[str, float]:
    """Weights of the common start; those given must be a mixture, as every spec checks."""
    from proxy_training.errors import SpecError

    if given is None:
        return {name: 1 / len(domains) for name in domains}
    found: dict[str, float] = {}
    for text in given:
        name, sign, number = text.rpartition("=")
        try:
            found[name] = float(number)
        except ValueError:
            sign = ""
        if not sign or name not in domains:
            raise SpecError(f"--base-weights is {text!r}; write DOMAIN=SHARE with one of {', '.join(domains)}")
    if abs(sum(found.values()) - 1) > 1e-6:
        raise SpecError(f"the shares of --base-weights sum to {sum(found.values()):g}; they must sum to 1")
    return found


def _write(path: Path, save: Callable[[Path], None]) -> None:
    from proxy_training.errors import CheckpointError

    try:
        save(path)
    except OSError as exc:
        raise CheckpointError(f"{path} cannot be written: {exc.strerror or exc}") from exc


@contextmanager
def _bar(title: str) -> Iterator[Callable[[int, int], None]]:
    with progress_bar() as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
