"""What experts foretell: losses of averaged parameters for any mixtures, and log-probabilities for MixMin.

Both are cheap stand-ins for runs on the mixtures, and are marked so wherever they are written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from proxy_training.corpus_read import Corpus
from proxy_training.divergence import why_diverged
from proxy_training.errors import SpecError
from proxy_training.evaluate import ValidationSet, evaluate, window_nats
from proxy_training.experts import Experts
from proxy_training.manifest import other_tokenizer
from proxy_training.model import StackedDecoder
from proxy_training.spec import Measured, NamedSpec
from proxy_training.stack_size import preferred_stack
from proxy_training.whole_files import write_whole


def validation_of(experts: Experts, corpus: Corpus) -> ValidationSet:
    """The windows that a run with the experts' settings is measured on.

    Raises:
        SpecError: the experts were trained on another corpus.
    """
    settings = experts.plan.settings
    if settings.corpus_hash != corpus.corpus_hash:
        raise SpecError(
            f"the experts were trained on the corpus {settings.corpus_hash}; {corpus.folder} is {corpus.corpus_hash}"
            f"{other_tokenizer(settings.model.vocab_size, corpus.folder, corpus.manifest)}"
        )
    return ValidationSet.of(corpus, settings.model.context, settings.eval_sequences)


def weights_of(experts: Experts, runs: Sequence[NamedSpec]) -> Float[np.ndarray, "n m"]:
    """The mixtures of runs that the experts can stand for, in the order of their domains.

    Raises:
        SpecError: a run is of another scale or corpus, changes its weights on the way, or has a domain without an
            expert.
    """
    rows = np.zeros((len(runs), len(experts.domains)))
    for row, run in zip(rows, runs, strict=True):
        _check_kind(experts, run)
        for name, weight in run.spec.stages[0].weights.items():
            if name in experts.domains:
                row[experts.domains.index(name)] = weight
            elif weight > 0:
                raise SpecError(
                    f"run {run.run_id!r} has a weight for domain {name!r}; there are experts of "
                    f"{', '.join(experts.domains)}"
                )
    return rows / rows.sum(axis=1, keepdims=True)


def _check_kind(experts: Experts, run: NamedSpec) -> None:
    if len(run.spec.stages) > 1:
        raise SpecError(f"run {run.run_id!r} changes its weights on the way; an average stands for one mixture")
    for field in ("corpus_hash", "model", "train_tokens"):
        asked, have = (getattr(settings, field) for settings in (run.spec.settings, experts.plan.settings))
        if asked != have:
            raise SpecError(f"run {run.run_id!r} has {field} {asked}; the experts have {have}, and stand for no other")


def average_losses(
    experts: Experts, weights: Float[np.ndarray, "n m"], validation: ValidationSet, device: torch.device
) -> Iterator[dict[str, Measured] | None]:
    """The losses of the averaged model of each mixture; None where a run with them has diverged. Rows sum to 1."""
    model = experts.plan.settings.model
    decoder = StackedDecoder(model, device)
    stack = preferred_stack(experts.plan.settings, device)
    for first in range(0, len(weights), stack):
        flat = torch.from_numpy(experts.average(weights[first : first + stack])).to(device)
        for row, losses in enumerate(evaluate(decoder, flat, validation), start=first):
            mixed = [name for name, weight in zip(experts.domains, weights[row], strict=True) if weight > 0]
            yield None if losses is None or why_diverged(losses, mixed, model.vocab_size) else losses


FORMAT = "mixwright-log-probabilities-1"


@dataclass(frozen=True)
class LogProbabilities:
    """What m experts say of n sequences, the windows of the validation documents: what MixMin needs.

    Args:
        log_probs: natural logarithms of the probabilities of whole sequences, (n, m).
        tokens: predicted tokens of each sequence, (n,). target: the place in ``targets`` of its domain, (n,).
        available_tokens: training tokens that the corpus has of each domain, (m,).
    """

    domains: tuple[str, ...]
    targets: tuple[str, ...]
    log_probs: Float[np.ndarray, "n m"]
    tokens: Int[np.ndarray, " n"]
    target: Int[np.ndarray, " n"]
    available_tokens: Int[np.ndarray, " m"]

    def save(self, path: Path) -> None:
        """Write one ``.npz`` without pickled objects, whole or not at all.

        Raises:
            OSError: the disk is full, or the place is not writable.
        """
        write_whole(
            path,
            lambda file: np.savez(
                file,
                format=np.array(FORMAT),
                domains=np.array(self.domains),
                targets=np.array(self.targets),
                log_probs=self.log_probs,
                tokens=self.tokens,
                target=self.target,
                available_tokens=self.available_tokens,
            ),
        )


def log_probabilities(experts: Experts, corpus: Corpus, device: torch.device) -> LogProbabilities:
    """Let every expert judge every validation window.

    Raises:
        SpecError: an expert has diverged.
    """
    validation = validation_of(experts, corpus)
    model = experts.plan.settings.model
    decoder = StackedDecoder(model, device)
    stack = preferred_stack(experts.plan.settings, device)
    columns = []
    for first in range(0, len(experts.domains), stack):
        flat = torch.from_numpy(experts.parameters[first : first + stack]).to(device)
        columns.append(-window_nats(decoder, flat, validation).T)
    log_probs = np.concatenate(columns, axis=1)
    for name, column in zip(experts.domains, log_probs.T, strict=True):
        if not np.isfinite(column).all():
            raise SpecError(f"the expert of domain {name!r} has diverged: its log-probabilities are not finite")
    target = validation.domain[validation.document]
    for j, name in enumerate(experts.domains):
        own = target == validation.names.index(name)
        nats = float(-log_probs[own, j].sum() / validation.lengths[own].sum())
        loss = Measured(value=nats, nats_per_token=nats)  # the unit of its value plays no part
        why = why_diverged({name: loss}, [name], model.vocab_size)
        if why:
            raise SpecError(f"the expert of domain {name!r} has diverged: {why}; a lower learning rate may help")
    available = np.array([corpus.train_tokens(name) for name in experts.domains])
    return LogProbabilities(experts.domains, validation.names, log_probs, validation.lengths, target, available)
