"""One proxy run's data: which tokens every step trains on, computed for any step by itself.

Two rules make runs comparable (common random numbers):

- the domain of every sequence follows from the weights alone, see ``domain_schedule.py``;
- the j-th sequence of a domain is the same in every run with the same seed, whatever the mixture. A domain is cut
  into windows of ``context`` tokens that do not overlap (the label of a window's last token is the next window's
  first); an epoch is a permutation of the windows that depends on seed, domain name and epoch only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt

from proxy_training.corpus_read import Corpus
from proxy_training.domain_schedule import DomainSchedule
from proxy_training.errors import SpecError
from proxy_training.permutation import Permutation
from proxy_training.spec import ProxySpec

# Sequences that are scheduled at once. Steps inside of a block are free; going back costs the block again.
_BLOCK_SEQUENCES = 4096


class WindowOrder:
    """The endless order of the windows of one domain: epoch after epoch, each in its own permutation."""

    def __init__(self, name: str, tokens: UInt[np.ndarray, " tokens"], context: int, seed: int) -> None:
        self.windows = (len(tokens) - 1) // context  # the last token of a window needs one more as its label
        self._name = name
        self._context = context
        self._seed = seed

    def starts(self, nth: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """The first token of the ``nth`` sequences of this domain; n rises."""
        epochs, places = np.divmod(nth, self.windows)
        starts = np.empty_like(nth)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            order = Permutation(self.windows, f"{self._seed}/{epoch}/{self._name}")
            starts[here] = order(places[here]) * self._context
        return starts


@dataclass(frozen=True)
class _Block:
    """The sequences of some steps: domain and first token of each, and what every domain gave before."""

    number: int
    domains: Int[np.ndarray, " n"]
    starts: Int[np.ndarray, " n"]
    given_before: Int[np.ndarray, " k"]


class SequenceSampler:
    """The batches of one run; the same spec and corpus give the same batches on every machine.

    ``train_tokens`` that are no whole number of steps are rounded down to one.

    Raises:
        SpecError: when the spec is for another corpus, or asks for a domain that this one cannot give.
    """

    def __init__(self, corpus: Corpus, spec: ProxySpec) -> None:
        settings = spec.settings
        self.context = settings.model.context
        self.batch_sequences = settings.batch_sequences
        self.steps = settings.train_tokens // (self.batch_sequences * self.context)
        self.domains = _domains_of(spec, corpus)  # those with a weight, in the order of the corpus
        self._arrays = [corpus.train_array(name) for name in self.domains]
        self._orders = [
            WindowOrder(name, tokens, self.context, spec.seed)
            for name, tokens in zip(self.domains, self._arrays, strict=True)
        ]
        self._schedule = DomainSchedule(spec.stages, self.domains, self.context)
        self._steps_per_block = max(1, _BLOCK_SEQUENCES // self.batch_sequences)
        self._given_before = [np.zeros(len(self.domains), dtype=np.int64)]  # of every block reached so far
        self._block: _Block | None = None

    def batch(self, step: int) -> Int[np.ndarray, "batch context+1"]:
        """The tokens of one step, 0 .. ``steps - 1``: the inputs and, one further, their labels."""
        if not 0 <= step < self.steps:
            raise IndexError(f"step {step} lies outside of 0 .. {self.steps - 1}")
        block = self._block_of(step)
        first = (step % self._steps_per_block) * self.batch_sequences
        rows = slice(first, first + self.batch_sequences)
        tokens = np.empty((self.batch_sequences, self.context + 1), dtype=np.int64)
        for row, (j, start) in enumerate(zip(block.domains[rows].tolist(), block.starts[rows].tolist(), strict=True)):
            tokens[row] = self._arrays[j][start : start + self.context + 1]
        return tokens

    def realised_weights(self, steps: int) -> dict[str, float]:
        """The share of every domain in the first ``steps`` steps."""
        given = self._given(steps)
        return dict(zip(self.domains, (given / max(1, given.sum())).tolist(), strict=True))

    def epochs(self, steps: int) -> dict[str, float]:
        """How often the first ``steps`` steps went through every domain; 1 is every window once."""
        given = self._given(steps)
        return {name: int(n) / order.windows for name, order, n in zip(self.domains, self._orders, given, strict=True)}

    def _given(self, steps: int) -> Int[np.ndarray, " k"]:
        """Sequences of every domain in the first ``steps`` steps."""
        if steps == 0:
            return self._given_before[0]
        block = self._block_of(steps - 1)
        within = ((steps - 1) % self._steps_per_block + 1) * self.batch_sequences
        return block.given_before + np.bincount(block.domains[:within], minlength=len(self.domains))

    def _block_of(self, step: int) -> _Block:
        number = step // self._steps_per_block
        if self._block is None or self._block.number != number:
            for earlier in range(len(self._given_before) - 1, number):
                domains = self._domains_in(earlier)
                added = np.bincount(domains, minlength=len(self.domains))
                self._given_before.append(self._given_before[earlier] + added)
            self._block = self._make_block(number)
        return self._block

    def _domains_in(self, number: int) -> Int[np.ndarray, " n"]:
        first = number * self._steps_per_block
        last = min(first + self._steps_per_block, self.steps)
        batch = self.batch_sequences
        return self._schedule.assign(first * batch, last * batch, self._given_before[number])

    def _make_block(self, number: int) -> _Block:
        domains, given = self._domains_in(number), self._given_before[number]
        starts = np.empty_like(domains)
        for j, order in enumerate(self._orders):
            here = np.flatnonzero(domains == j)
            starts[here] = order.starts(given[j] + np.arange(len(here)))
        return _Block(number, domains, starts, given)


def _domains_of(spec: ProxySpec, corpus: Corpus) -> tuple[str, ...]:
    """The domains that the run draws from, after checking that the corpus can give them."""
    settings = spec.settings
    if settings.corpus_hash != corpus.corpus_hash:
        raise SpecError(f"the run is for the corpus {settings.corpus_hash}; {corpus.folder} is {corpus.corpus_hash}")
    if settings.model.vocab_size < corpus.vocab_size:
        raise SpecError(
            f"the model has a vocabulary of {settings.model.vocab_size} tokens; the corpus needs {corpus.vocab_size}"
        )
    asked = {name for stage in spec.stages for name, weight in stage.weights.items() if weight > 0}
    for name in sorted(asked - set(corpus.domains)):
        raise SpecError(f"the run has a weight for domain {name!r}; the corpus has {', '.join(corpus.domains)}")
    wanted = settings.model.context + 1
    for name in sorted(asked):
        if corpus.train_tokens(name) < wanted:
            raise SpecError(
                f"domain {name!r} has {corpus.train_tokens(name)} training tokens; one sequence of context "
                f"{settings.model.context} needs {wanted}"
            )
    return tuple(name for name in corpus.domains if name in asked)
