"""Files that may be compressed, read as a stream: memory does not grow with what is inside."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import zstandard

from proxy_training.errors import CorpusError

_BUFFER_BYTES = 1 << 18
_COMPRESSED_BYTES = 1 << 13  # at a time; zstd can make 128 KiB of 4 bytes, and all that these hold comes at once
_LARGEST_WINDOW = 1 << 31  # of zstd's long mode; the default of the library refuses what `zstd --long=31` writes


@contextmanager
def open_stream(path: Path) -> Iterator[tuple[BinaryIO, Callable[[], int]]]:
    """The content of ``path``, decompressed when its name says so, and how many bytes of the file were read so far.

    Raises:
        CorpusError: when the compressed data is damaged or cut short.
        OSError: when the file cannot be read.
    """
    with path.open("rb") as file:
        decompress = COMPRESSIONS.get(path.suffix.lower())
        if decompress is None:
            yield file, file.tell
            return
        try:
            with decompress(file) as stream:
                yield stream, file.tell
        except EOFError as exc:
            raise CorpusError(f"{path} was cut short: its compressed data has no end; fetch the file again") from exc
        except (gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as exc:
            raise CorpusError(f"{path} is damaged: {exc}; fetch the file again") from exc


class _ZstdFrames(io.RawIOBase):
    """All frames of a zstd file. The library's own reader takes a frame that was cut short for a whole one."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._library = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)
        self._frame = self._library.decompressobj()
        self._within_frame = False
        self._compressed = b""
        self._text = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]  # the stub names a private protocol
        while not self._text:
            if not self._compressed:
                self._compressed = self._file.read(_COMPRESSED_BYTES)
                if not self._compressed:
                    if self._within_frame:
                        raise EOFError
                    return 0
            if not self._within_frame:
                self._frame = self._library.decompressobj()
            self._text = memoryview(self._frame.decompress(self._compressed))
            self._within_frame = not self._frame.eof
            self._compressed = self._frame.unused_data if self._frame.eof else b""
        count = min(len(buffer), len(self._text))
        buffer[:count] = self._text[:count]
        self._text = self._text[count:]
        return count


def _gzip(file: BinaryIO) -> BinaryIO:
    return gzip.GzipFile(fileobj=file, mode="rb")  # type: ignore[return-value]  # reads like one


def _zstd(file: BinaryIO) -> BinaryIO:
    return io.BufferedReader(_ZstdFrames(file), _BUFFER_BYTES)  # type: ignore[return-value]  # reads like one


COMPRESSIONS: dict[str, Callable[[BinaryIO], BinaryIO]] = {".gz": _gzip, ".zst": _zstd}
