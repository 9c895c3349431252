"""How much a domain's text has to say, for the training-free mixtures of BiMix (Ge et al. 2024, arXiv 2405.14908).

    Shannon       H(X)       = -sum_x p(x) log p(x)                  of tokens
    conditional   H(X' | X)  = -sum_xx' p(x, x') log p(x' | x)       of the next token, given the token
    joint         H(X, X')   = H(X) + H(X' | X)                      of pairs of neighbours
    von Neumann   S(rho)     = -sum_i l_i log l_i                    l: eigenvalues of the embeddings' density matrix

All in nats. The weights follow by :func:`mixers.priors.entropy`; the conditional entropy is the one that is usually
taken. Counts of n pairs see at most n different ones, so an entropy from a small sample is too small: compare domains
by samples of equal size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from mixers.errors import InvalidInput


@dataclass(frozen=True)
class TextEntropies:
    """Of the pairs of neighbouring tokens of a sample, in nats. ``shannon`` is that of the first token of a pair."""

    shannon: float
    conditional: float
    joint: float

    @classmethod
    def of(cls, documents: Sequence[Int[np.ndarray, " _"]]) -> TextEntropies:
        """From the tokens of each document; no pair spans two documents.

        Raises:
            InvalidInput: no document has two tokens.
        """
        firsts = [tokens[:-1] for tokens in documents if len(tokens) > 1]
        if not firsts:
            raise InvalidInput("entropies need a document of two tokens or more")
        nexts = [tokens[1:] for tokens in documents if len(tokens) > 1]
        _, first = np.unique(np.concatenate(firsts), return_inverse=True)
        _, following = np.unique(np.concatenate(nexts), return_inverse=True)
        pairs, counts = np.unique(
            first.reshape(-1).astype(np.int64) * (int(following.max()) + 1) + following.reshape(-1), return_counts=True
        )
        return cls._of(pairs // (int(following.max()) + 1), counts)

    @classmethod
    def of_pair_counts(cls, counts: Int[np.ndarray, "v w"]) -> TextEntropies:
        """From how often each token (row) is followed by each token (column)."""
        if counts.sum() <= 0 or (counts < 0).any():
            raise InvalidInput("counts of pairs must be 0 or more, and one of them positive")
        first, _ = np.nonzero(counts)
        return cls._of(first, counts[counts > 0])

    @classmethod
    def _of(cls, first: np.ndarray, counts: np.ndarray) -> TextEntropies:
        """``first`` names the first token of each different pair."""
        joint = shannon_entropy(counts)
        shannon = shannon_entropy(np.bincount(first, counts.astype(float)))
        return cls(shannon, joint - shannon, joint)


def shannon_entropy(counts: Int[np.ndarray, " v"] | Float[np.ndarray, " v"]) -> float:
    """-sum p log p of the frequencies that belong to ``counts``, in nats; 0 log 0 = 0.

    Raises:
        InvalidInput: a count that is negative or no number, or none that is positive.
    """
    if not (np.isfinite(counts).all() and (counts >= 0).all() and counts.sum() > 0):
        raise InvalidInput("counts must be numbers of 0 or more, and one of them positive")
    share = counts[counts > 0] / counts.sum()
    return max(float(-(share * np.log(share)).sum()), 0.0)


def von_neumann_entropy(embeddings: Float[np.ndarray, "n d"]) -> float:
    """S of the density matrix sum_i e_i e_i' / n of embeddings e_i, each scaled to length 1; from 0 to log min(n, d).

    Raises:
        InvalidInput: an embedding of length 0, or one that is not finite.
    """
    length = np.linalg.norm(embeddings, axis=1)
    if len(embeddings) == 0 or not (np.isfinite(length).all() and (length > 0).all()):
        raise InvalidInput("embeddings must be finite and of a length above 0")
    unit = embeddings / length[:, None]
    # The products on either side have the same eigenvalues, but for zeros.
    density = unit @ unit.T if len(unit) <= unit.shape[1] else unit.T @ unit
    return shannon_entropy(np.maximum(np.linalg.eigvalsh(density / len(unit)), 0.0))
