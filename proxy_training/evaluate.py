"""Losses on validation documents, in bits per UTF-8 byte and nats per token, with standard errors over documents.

Bits per byte does not depend on the tokeniser. A domain's loss is the ratio of all bits to all bytes that were
looked at, or of all nats to all tokens, so that long documents count for their length; documents, not tokens, are the
independent draws.
The first token of a document has nothing before it and is not predicted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from proxy_training.corpus_read import Corpus, beyond_vocabulary
from proxy_training.errors import CorpusError
from proxy_training.model import StackedDecoder
from proxy_training.spec import Measured

# Predicted tokens a forward pass: on a CPU what its caches hold, on a GPU what fills it.
_CHUNK_TOKENS = {"cpu": 4096, "cuda": 65536}
_NOT_PREDICTED = -1


@dataclass(frozen=True)
class ValidationSet:
    """The windows that every measurement looks at: S windows of T tokens, of D documents, of all domains.

    Args:
        tokens: (S, T + 1), shortest windows first; inputs are all but the last column, labels all but the first,
            and a negative number marks the end of a shorter window.
        lengths: predicted tokens of a window, (S,).
        document: the document of a window, (S,).
        domain: the domain of a document, (D,), as an index into ``names``.
        document_bytes, document_tokens: UTF-8 bytes and tokens that the windows of a document predict, (D,).
    """

    names: tuple[str, ...]
    tokens: Int[np.ndarray, "S T1"]
    lengths: Int[np.ndarray, " S"]
    document: Int[np.ndarray, " S"]
    domain: Int[np.ndarray, " D"]
    document_bytes: Float[np.ndarray, " D"]
    document_tokens: Float[np.ndarray, " D"]

    @classmethod
    def of(cls, corpus: Corpus, context: int, max_windows: int) -> ValidationSet:
        """Windows of every domain of the corpus, at most ``max_windows`` each, spread evenly over its text.

        Raises:
            CorpusError: a domain has no validation document of two tokens or more, or holds an unknown token.
        """
        tokens: list[np.ndarray] = []
        document: list[int] = []
        domain: list[int] = []
        counted: list[float] = []
        for at, name in enumerate(corpus.domains):
            for rows, text_bytes in _windows_by_document(corpus, name, context, max_windows):
                tokens.append(rows)
                document += [len(domain)] * len(rows)
                domain.append(at)
                counted.append(text_bytes)
        stacked = np.concatenate(tokens)
        if stacked.max() >= corpus.vocab_size:
            raise beyond_vocabulary(corpus, int(stacked.max()))
        lengths = (stacked[:, 1:] != _NOT_PREDICTED).sum(axis=1)
        order = np.argsort(lengths, kind="stable")
        return cls(
            names=corpus.domains,
            tokens=stacked[order],
            lengths=lengths[order],
            document=np.array(document)[order],
            domain=np.array(domain),
            document_bytes=np.array(counted),
            document_tokens=np.bincount(document, weights=lengths, minlength=len(domain)),
        )


def _windows_by_document(
    corpus: Corpus, name: str, context: int, max_windows: int
) -> list[tuple[Int[np.ndarray, "s T1"], float]]:
    """The chosen windows of every document of a domain, and the bytes that they predict."""
    documents = corpus.validation_documents(name)
    lengths = documents.token_counts
    windows = -(-np.maximum(lengths - 1, 0) // context)
    total = int(windows.sum())
    if total == 0:
        raise CorpusError(f"domain {name!r} has no validation document of two tokens or more; give it more text")
    count = min(total, max_windows)
    # The middles of ``count`` equal parts of all windows: a systematic sample, the same for every run.
    chosen = (2 * np.arange(count) + 1) * total // (2 * count)
    ends = np.cumsum(windows)
    owner = np.searchsorted(ends, chosen, side="right")
    starts = (chosen - (ends - windows)[owner]) * context
    found = []
    for index in np.unique(owner):
        rows = _cut(documents[int(index)], starts[owner == index], context)
        predicted = int((rows[:, 1:] != _NOT_PREDICTED).sum())
        found.append((rows, int(documents.byte_counts[index]) * predicted / int(lengths[index])))
    return found


def _cut(text: np.ndarray, starts: Int[np.ndarray, " s"], context: int) -> Int[np.ndarray, "s T1"]:
    rows = np.full((len(starts), context + 1), _NOT_PREDICTED, dtype=np.int64)
    for row, start in zip(rows, starts, strict=True):
        part = text[start : start + context + 1]
        row[: len(part)] = part
    return rows


class MeasurementStopped(Exception):
    """A measurement was called off before its end; it may be made again."""


def evaluate(
    decoder: StackedDecoder, flat: Tensor, validation: ValidationSet, stopping: Callable[[], bool] = lambda: False
) -> list[dict[str, Measured] | None]:
    """The loss of every domain for each of the K proxies in ``flat`` (K, P); None for a proxy that has diverged.

    ``stopping`` is asked before every forward pass: a measurement may take minutes.

    Raises:
        MeasurementStopped: ``stopping`` said so.
    """
    nats = _document_nats(decoder, flat, validation, stopping)
    return [_measured(row, validation) if np.isfinite(row).all() else None for row in nats]


def window_nats(decoder: StackedDecoder, flat: Tensor, validation: ValidationSet) -> Float[np.ndarray, "K S"]:
    """The nats of every window for each of the K proxies in ``flat`` (K, P): minus its log-probability."""
    parts = [nats for _, nats in _window_parts(decoder, flat, validation, stopping=lambda: False)]
    return torch.cat(parts, dim=1).cpu().numpy()


def _document_nats(
    decoder: StackedDecoder, flat: Tensor, validation: ValidationSet, stopping: Callable[[], bool]
) -> Float[np.ndarray, "K D"]:
    total = torch.zeros(flat.shape[0], len(validation.domain), dtype=torch.float64, device=flat.device)
    for part, nats in _window_parts(decoder, flat, validation, stopping):
        total.index_add_(1, torch.from_numpy(validation.document[part]).to(flat.device), nats)
    return total.cpu().numpy()


@torch.inference_mode()
def _window_parts(
    decoder: StackedDecoder, flat: Tensor, validation: ValidationSet, stopping: Callable[[], bool]
) -> Iterator[tuple[slice, Tensor]]:
    """The nats of the windows, some at a time: their places, and (K, s) in float64."""
    proxies, device = flat.shape[0], flat.device
    windows, context = len(validation.tokens), validation.tokens.shape[1] - 1
    step = max(1, _CHUNK_TOKENS.get(device.type, _CHUNK_TOKENS["cuda"]) // (proxies * context))
    for first in range(0, windows, step):
        if stopping():
            raise MeasurementStopped
        part = slice(first, min(first + step, windows))
        # Windows are sorted by length: a chunk of short ones is cut to the longest of them.
        rows = torch.from_numpy(validation.tokens[part, : int(validation.lengths[part][-1]) + 1]).to(device)
        inputs = rows[:, :-1].clamp(min=0).expand(proxies, -1, -1)
        nats = decoder.losses(flat, inputs, rows[:, 1:].expand(proxies, -1, -1))
        yield part, nats.sum(dim=2, dtype=torch.float64)


def _measured(nats: Float[np.ndarray, " D"], validation: ValidationSet) -> dict[str, Measured]:
    losses = {}
    for at, name in enumerate(validation.names):
        mine = validation.domain == at
        bits_per_byte = _ratio(nats[mine] / math.log(2), validation.document_bytes[mine])
        nats_per_token = _ratio(nats[mine], validation.document_tokens[mine])
        losses[name] = Measured(
            value=bits_per_byte[0],
            stderr=bits_per_byte[1],
            nats_per_token=nats_per_token[0],
            nats_per_token_stderr=nats_per_token[1],
        )
    return losses


def _ratio(above: Float[np.ndarray, " D"], below: Float[np.ndarray, " D"]) -> tuple[float, float | None]:
    """The ratio of the sums and its linearised standard error (Cochran 1977, Sampling Techniques, Eq. 6.13).

    One document has no standard error.
    """
    value, count = float(above.sum() / below.sum()), len(above)
    if count == 1:
        return value, None
    residual = above - value * below
    return value, float(np.sqrt(count / (count - 1) * (residual**2).sum()) / below.sum())
