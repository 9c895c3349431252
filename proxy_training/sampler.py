"""One proxy run's data: which tokens every step trains on, computed for any step by itself.

Two rules make runs comparable (common random numbers):

- the domain of every sequence follows from the weights alone, see ``domain_schedule.py``;
- the j-th sequence of a domain is the same in every run with the same draw seed, whatever the mixture, see
  ``window_order.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Int, UInt
from pydantic import Field, ValidationError

from proxy_training.corpus_read import Corpus, beyond_vocabulary
from proxy_training.domain_schedule import AskedCounts, DomainSchedule
from proxy_training.errors import SpecError
from proxy_training.repetition import DomainUse, matched_windows
from proxy_training.spec import NonNegative, ProxySpec, Record, Stage
from proxy_training.steered_schedule import SteeredSchedule
from proxy_training.window_order import WindowOrder

# What is scheduled and read at once. Steps inside of a block are free; going back costs the block again.
_BLOCK_SEQUENCES, _BLOCK_TOKENS = 1024, 2**20


class WeightChange(Record):
    """New weights from a step (counted from 0) on, which were not known before it."""

    from_step: Annotated[int, Field(ge=0)]
    weights: dict[str, NonNegative]


@dataclass(frozen=True)
class _Block:
    """The sequences of some steps: domain and text of each, and what every domain gave before."""

    number: int
    domains: Int[np.ndarray, " n"]
    tokens: UInt[np.ndarray, "n context+1"]
    given_before: Int[np.ndarray, " k"]


class SequenceSampler:
    """The batches of one run; the same spec and corpus give the same batches on every machine.

    ``train_tokens`` that are no whole number of steps are rounded down to one. ``stages`` are those of the spec, with
    all changes so far.

    Raises:
        SpecError: when the spec is for another corpus, or asks for a domain that this one cannot give.
    """

    def __init__(self, corpus: Corpus, spec: ProxySpec) -> None:
        settings = spec.settings
        self.context = settings.model.context
        self.batch_sequences = settings.batch_sequences
        self.steps = settings.train_tokens // (self.batch_sequences * self.context)
        self.domains = corpus.domains
        self.stages = spec.stages
        self.changes: tuple[WeightChange, ...] = ()
        self._corpus = corpus
        self._spec = spec
        _check_corpus(spec, corpus)
        _check_domains(spec.stages, corpus, self.context)
        asked = AskedCounts(spec.stages, self.domains, self.context)
        self._orders = self._orders_of(spec.stages, asked)
        self._known = DomainSchedule(asked)
        self._schedule: DomainSchedule | SteeredSchedule = self._known
        block_sequences = min(_BLOCK_SEQUENCES, _BLOCK_TOKENS // self.context)
        self._steps_per_block = max(1, block_sequences // self.batch_sequences)
        self._given_before = [np.zeros(len(self.domains), dtype=np.int64)]  # of every block reached so far
        self._block: _Block | None = None

    def batch(self, step: int) -> Int[np.ndarray, "batch context+1"]:
        """The tokens of one step, 0 .. ``steps - 1``: the inputs and, one further, their labels.

        Raises:
            CorpusError: the corpus has been damaged since it was opened.
        """
        if not 0 <= step < self.steps:
            raise IndexError(f"step {step} lies outside of 0 .. {self.steps - 1}")
        block = self._block_of(step)
        first = (step % self._steps_per_block) * self.batch_sequences
        return block.tokens[first : first + self.batch_sequences].astype(np.int64)

    def change_weights(self, from_step: int, weights: Mapping[str, float]) -> None:
        """Train on other weights from a step (counted from 0) on, until the end of the run or the next change.

        Earlier steps stay as they were; what they owe to a domain, or gave it too much, is evened out, so that the
        counts since the start of the run follow the weights of every time as closely as ``steered_schedule.py``
        states. Made again in the same order, the same changes give the same batches.

        Raises:
            SpecError: the weights are no mixture, the corpus cannot give them, or the step lies before an earlier
                change or outside of the run; nothing has changed then.
        """
        earliest = self.changes[-1].from_step if self.changes else 0
        if not earliest <= from_step < self.steps:
            raise SpecError(f"weights cannot change from step {from_step} on; steps {earliest} .. {self.steps - 1} may")
        stages = self._changed_stages(from_step, weights)
        _check_domains(stages, self._corpus, self.context)
        asked = AskedCounts(stages, self.domains, self.context)
        self._orders = self._orders_of(stages, asked)
        self.stages = stages
        self.changes = (*self.changes, WeightChange(from_step=from_step, weights=dict(weights)))
        self._schedule = SteeredSchedule(self._known, self.changes[0].from_step * self.batch_sequences, asked)
        changed = from_step // self._steps_per_block
        del self._given_before[changed + 1 :]
        if self._block is not None and self._block.number >= changed:
            self._block = None

    def realised_weights(self, steps: int) -> dict[str, float]:
        """The share of every domain in the first ``steps`` steps."""
        given = self._given(steps)
        total = max(1, int(given.sum()))
        return {self.domains[j]: int(given[j]) / total for j in self._orders}

    def realised_stages(self, steps: int) -> tuple[Stage, ...]:
        """The share of every domain in each stage that the first ``steps`` steps reached.

        Sequences are whole: one that two stages share counts for that in which it begins, and a stage in which none
        begins is left out.
        """
        last = steps * self.batch_sequences
        bounds = [min(-(-stage.to_token // self.context), last) for stage in self.stages]
        made, first = [], 0
        for bound in bounds:
            if bound > first:
                given = self._given_until(bound) - self._given_until(first)
                weights = {self.domains[j]: int(given[j]) / (bound - first) for j in self._orders}
                made.append(Stage(from_token=first * self.context, to_token=bound * self.context, weights=weights))
                first = bound
        return tuple(made)

    def epochs(self, steps: int) -> dict[str, float]:
        """How often the first ``steps`` steps went through what is kept of every domain; 1 is every window once."""
        given = self._given(steps)
        return {self.domains[j]: int(given[j]) / order.kept for j, order in self._orders.items()}

    def _changed_stages(self, from_step: int, weights: Mapping[str, float]) -> tuple[Stage, ...]:
        from_token = from_step * self.batch_sequences * self.context
        kept = [stage for stage in self.stages if stage.from_token < from_token]
        if kept:
            kept[-1] = kept[-1].model_copy(update={"to_token": min(kept[-1].to_token, from_token)})
        end = self._spec.settings.train_tokens
        try:
            return (*kept, Stage(from_token=from_token, to_token=end, weights=dict(weights)))
        except ValidationError as exc:
            first = exc.errors(include_url=False)[0]
            where = "".join(f" of {name!r}" for name in first["loc"][1:])
            reason = first["msg"].removeprefix("Value error, ")
            raise SpecError(f"the changed weights{where} are no mixture: {reason}") from exc

    def _orders_of(self, stages: Sequence[Stage], asked: AskedCounts) -> dict[int, WindowOrder]:
        """The orders of all domains with a weight, by their place in the corpus."""
        sequences = self.steps * self.batch_sequences
        totals = asked.until(np.array([float(sequences)]))[0]
        used = {name for stage in stages for name, weight in stage.weights.items() if weight > 0}
        # The last token of a window needs one more as its label.
        uses = {
            name: DomainUse((self._corpus.train_tokens(name) - 1) // self.context, float(totals[j]))
            for j, name in enumerate(self.domains)
            if name in used
        }
        kept = {name: use.windows for name, use in uses.items()}
        if target := self._spec.settings.match_repetition:
            kept = matched_windows(target, uses, sequences, self.context)
        return {
            self.domains.index(name): WindowOrder(name, use.windows, kept[name], self.context, self._spec.draw_seed)
            for name, use in uses.items()
        }

    def _given(self, steps: int) -> Int[np.ndarray, " k"]:
        """Sequences of every domain in the first ``steps`` steps."""
        if steps == 0:
            return self._given_before[0]
        block = self._block_of(steps - 1)
        within = ((steps - 1) % self._steps_per_block + 1) * self.batch_sequences
        return block.given_before + np.bincount(block.domains[:within], minlength=len(self.domains))

    def _given_until(self, sequences: int) -> Int[np.ndarray, " k"]:
        """Sequences of every domain in the first ``sequences``, without reading any of them."""
        number, within = divmod(sequences, self._steps_per_block * self.batch_sequences)
        for earlier in range(len(self._given_before) - 1, number):
            self._domains_in(earlier)
        before = self._given_before[number]
        return before + np.bincount(self._domains_in(number)[:within], minlength=len(before)) if within else before

    def _block_of(self, step: int) -> _Block:
        number = step // self._steps_per_block
        if self._block is None or self._block.number != number:
            for earlier in range(len(self._given_before) - 1, number):
                self._domains_in(earlier)
            self._block = self._make_block(number)
        return self._block

    def _domains_in(self, number: int) -> Int[np.ndarray, " n"]:
        """The domains of a block that begins where the blocks reached so far end, or earlier."""
        first = number * self._steps_per_block
        last = min(first + self._steps_per_block, self.steps)
        batch, given = self.batch_sequences, self._given_before[number]
        domains = self._schedule.assign(first * batch, last * batch, given)
        if len(self._given_before) == number + 1:
            self._given_before.append(given + np.bincount(domains, minlength=len(given)))
        return domains

    def _make_block(self, number: int) -> _Block:
        domains, given = self._domains_in(number), self._given_before[number]
        tokens = np.empty((len(domains), self.context + 1), dtype=self._corpus.manifest.dtype)
        for j, order in self._orders.items():
            here = np.flatnonzero(domains == j)
            if len(here):
                starts = order.starts(given[j] + np.arange(len(here)))
                tokens[here] = self._corpus.train_windows(self.domains[j], starts, self.context + 1)
        if tokens.max() >= self._corpus.vocab_size:
            raise beyond_vocabulary(self._corpus, int(tokens.max()))
        return _Block(number, domains, tokens, given)


def _check_corpus(spec: ProxySpec, corpus: Corpus) -> None:
    settings = spec.settings
    if settings.corpus_hash != corpus.corpus_hash:
        raise SpecError(f"the run is for the corpus {settings.corpus_hash}; {corpus.folder} is {corpus.corpus_hash}")
    if settings.model.vocab_size < corpus.vocab_size:
        raise SpecError(
            f"the model has a vocabulary of {settings.model.vocab_size} tokens; the corpus needs {corpus.vocab_size}"
        )


def _check_domains(stages: Sequence[Stage], corpus: Corpus, context: int) -> None:
    asked = {name for stage in stages for name, weight in stage.weights.items() if weight > 0}
    for name in sorted(asked - set(corpus.domains)):
        raise SpecError(f"the run has a weight for domain {name!r}; the corpus has {', '.join(corpus.domains)}")
    for name in sorted(asked):
        if corpus.train_tokens(name) < context + 1:
            raise SpecError(
                f"domain {name!r} has {corpus.train_tokens(name)} training tokens; one sequence of context "
                f"{context} needs {context + 1}"
            )
