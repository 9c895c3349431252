"""The file of a saved stack, which is written as fast as the disk takes it.

    line 1   SHA-256 of line 2, in hexadecimal
    line 2   the header, JSON
    then     arrays of little-endian float32, one after another, each as its rows follow

The arrays may be gigabytes, written while a scheduler counts the seconds to SIGKILL: they are neither copied nor
hashed. The header keeps the sum of the bits of each, which costs a tenth of writing it and tells every cut, every
block of zeros that a power cut left, and every change of a single word.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import IO

import numpy as np
from jaxtyping import Float32

_DTYPE = np.dtype("<f4")
_WORD = np.dtype("<u8")
_HASH_CHARACTERS = 64


def write_stack(file: IO[bytes], header: str, arrays: Sequence[Float32[np.ndarray, "K P"]]) -> None:
    """Write the whole file.

    Raises:
        OSError: the disk is full.
    """
    line = header.encode()
    file.write(hashlib.sha256(line).hexdigest().encode() + b"\n" + line + b"\n")
    for array in arrays:
        file.write(np.ascontiguousarray(array, _DTYPE).data)


def read_header(file: IO[bytes]) -> str:
    """The header of an opened file; the arrays come next.

    Raises:
        ValueError: it is no such file, or its header is damaged.
    """
    expected = file.readline(_HASH_CHARACTERS + 1)
    if len(expected) != _HASH_CHARACTERS + 1 or not expected.endswith(b"\n"):
        raise ValueError("it is no saved stack")
    line = file.readline().removesuffix(b"\n")
    if hashlib.sha256(line).hexdigest().encode() != expected.removesuffix(b"\n"):
        raise ValueError("its header is damaged")
    return line.decode()


def read_array(file: IO[bytes], rows: int, columns: int, expected_sum: int) -> Float32[np.ndarray, "K P"]:
    """The next array.

    Args:
        expected_sum: what ``sum_of_bits`` was when it was written.

    Raises:
        ValueError: the file was cut short or its bytes have changed.
    """
    array = np.fromfile(file, _DTYPE, rows * columns)
    if len(array) < rows * columns:
        raise ValueError("it was cut short")
    if sum_of_bits(array) != expected_sum:
        raise ValueError("its numbers are damaged")
    return array.reshape(rows, columns)


def sum_of_bits(array: Float32[np.ndarray, ...]) -> int:
    """All bytes of ``array`` as one number after another of 64 bits, added up modulo 2^64."""
    data = np.ascontiguousarray(array, _DTYPE).reshape(-1).view(np.uint8)
    whole = len(data) // _WORD.itemsize * _WORD.itemsize
    rest = int.from_bytes(data[whole:].tobytes(), "little")
    return (int(np.add.reduce(data[:whole].view(_WORD))) + rest) % 2**64
