"""What the demo found, as tables for a person and as one JSON document for a program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from app.atomic_files import write_text
from app.demo.corpus import DemoCorpus
from app.demo.steps import Results
from app.schemas.fits import FitRead
from app.schemas.recommendations import ArmRead, ContrastRead, RecommendationRead, VerificationRead
from app.terminal import number, say


def show(console: Console, corpus: DemoCorpus, results: Results) -> None:
    """The weights, the fidelity of the laws, and the verdict of the verification."""
    console.print(_data_table(corpus))
    console.print(_fidelity_table(results.fit))
    say(console, f"Chosen law: {results.fit.chosen_law}: {results.fit.reason}.")
    for law in results.fit.fidelity:
        if law.skipped is not None:
            say(console, f"Skipped {law.law}: {law.skipped}.")
    console.print(_weights_table(results.recommendation))
    if results.recommendation.message:
        say(console, results.recommendation.message)
    console.print(_verification_table(results.verification))
    for contrast in results.verification.contrasts:
        say(console, verdict_sentence(contrast))
    say(
        console,
        "Predicted intervals are for one run with the seed of the swarm; other seeds shift every mixture together, "
        "so compare differences.",
    )


def write_document(path: Path, corpus: DemoCorpus, results: Results, seconds: dict[str, float]) -> None:
    """Everything, as JSON, whole or not at all."""
    document: dict[str, Any] = {
        "study": results.study.model_dump(mode="json"),
        "corpus_hash": corpus.corpus_hash,
        "settings": results.settings.model_dump(mode="json"),
        "runs": results.runs,
        "fit": results.fit.model_dump(mode="json"),
        "recommendation": results.recommendation.model_dump(mode="json"),
        "verification": results.verification.model_dump(mode="json"),
        "seconds": {step: round(value, 2) for step, value in seconds.items()},
    }
    write_text(path, json.dumps(document, indent=2) + "\n")


def verdict_sentence(contrast: ContrastRead) -> str:
    """One sentence: the word, the difference and its interval.

    >>> verdict_sentence(ContrastRead(baseline="uniform", difference=-0.05, low=-0.06, high=-0.04, verdict="better"))
    'Recommended against uniform: better (difference -0.0500, 95 % interval -0.0600 to -0.0400)'
    """
    if contrast.difference is None or contrast.low is None or contrast.high is None:
        return f"Recommended against {contrast.baseline}: {contrast.verdict}"
    return (
        f"Recommended against {contrast.baseline}: {contrast.verdict} (difference {contrast.difference:+.4f}, "
        f"95 % interval {contrast.low:+.4f} to {contrast.high:+.4f})"
    )


def _data_table(corpus: DemoCorpus) -> Table:
    table = _table("Data", "domain", "train tokens", "licence", "source")
    for domain in corpus.domains:
        table.add_row(domain.name, f"{domain.available_tokens:,}", domain.licence, domain.source)
    return table


def _fidelity_table(fit: FitRead) -> Table:
    title = f"Fidelity of the laws, out of fold, on {fit.runs_used} runs (objective: the weighted mean of the targets)"
    table = _table(title, "law", "Spearman", "MAE", "R2", "90 % coverage", "seconds")
    for law in fit.fidelity:
        cells = [
            number(law.objective_spearman, 3),
            number(law.objective_mae, 4),
            number(law.objective_r2, 3),
            number(law.coverage90, 2),
            number(law.fit_seconds, 1),
        ]
        table.add_row(("* " if law.law == fit.chosen_law else "  ") + law.law, *cells)
    return table


def _weights_table(recommendation: RecommendationRead) -> Table:
    tokens = recommendation.constraints.target_tokens
    title = "Recommended weights" + (f" for a run of {tokens:,} tokens" if tokens else "")
    table = _table(title, "domain", "prior", "recommended", "at most", "epochs", "")
    for row in recommendation.weights:
        cells = [f"{row.prior:.4f}", f"{row.weight:.4f}", f"{row.max_weight:.4f}", number(row.epochs, 2)]
        table.add_row(row.domain, *cells, "cap reached" if row.capped else "")
    return table


def _verification_table(verification: VerificationRead) -> Table:
    title = "Verification by training: measured objective (bits per byte, lower is better)"
    table = _table(title, "mixture", "seeds", "measured", "standard error", "predicted", "90 % from", "to")
    for arm in verification.arms:
        table.add_row(arm.name, f"{arm.seeds_done}", *_measured(arm), *_predicted(arm))
    return table


def _measured(arm: ArmRead) -> list[str]:
    return [number(arm.mean, 4), number(arm.stderr, 4)]


def _predicted(arm: ArmRead) -> list[str]:
    if arm.predicted is None:
        return ["-", "-", "-"]
    return [f"{value:.4f}" for value in (arm.predicted.mean, arm.predicted.low, arm.predicted.high)]


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(first, title=title, title_justify="left")
    for heading in others:
        table.add_column(heading, justify="left" if heading in ("", "licence", "source") else "right")
    return table
