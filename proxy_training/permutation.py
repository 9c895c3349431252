"""A shuffled order with random access: a keyed bijection of 0 .. n-1 that needs no memory.

A shuffled list of a large domain's windows would cost 8 bytes a window, run and epoch. Here the place of one window
is computed by itself, by a Feistel network over Z_a x Z_b with a * b >= n (Black and Rogaway 2002, "Ciphers with
arbitrary finite domains", generalised Feistel with cycle walking):

    left  <- left  + F(key_r, right)  mod a
    right <- right + F(key_r', left)  mod b         repeated ``_ROUNDS`` times

Each line can be undone, so the whole is a bijection of a * b numbers; one that falls outside of 0 .. n-1 is sent
through again until it falls inside, which keeps it a bijection of the n.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
from jaxtyping import Int, UInt64

_ROUNDS = 4


class Permutation:
    """The order that ``key`` gives to ``size`` things. Equal on every machine and in every version of numpy."""

    def __init__(self, size: int, key: str) -> None:
        self.size = size
        self._rows = math.isqrt(size - 1) + 1
        self._columns = -(-size // self._rows)
        digest = hashlib.blake2b(key.encode(), digest_size=16 * _ROUNDS).digest()
        self._keys = np.frombuffer(digest, dtype="<u8").astype(np.uint64).reshape(_ROUNDS, 2)

    def __call__(self, at: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Which thing stands at each place; places lie in 0 .. ``size - 1``."""
        values = self._once(at)
        outside = np.flatnonzero(values >= self.size)
        while len(outside):
            values[outside] = self._once(values[outside])
            outside = outside[values[outside] >= self.size]
        return values

    def _once(self, values: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        rows, columns = np.uint64(self._rows), np.uint64(self._columns)
        left, right = np.divmod(values.astype(np.uint64), columns)
        for of_left, of_right in self._keys:
            left = (left + _mixed(right + of_left) % rows) % rows
            right = (right + _mixed(left + of_right) % columns) % columns
        return (left * columns + right).astype(np.int64)


def _mixed(z: UInt64[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    """Every bit of the result depends on every bit of z: the finaliser of SplitMix64 (Steele et al. 2014)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
