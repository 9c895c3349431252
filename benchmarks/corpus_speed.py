"""How fast ``corpus build`` turns text into a corpus: MB a CPU second on one core, by length, format and tokeniser.

    python -m benchmarks.corpus_speed [--megabytes 40]

The text is made up, without copies, and lies in a temporary folder; hashing, splitting, checksums and syncing to disk
are all in the time. Every build has a process of its own, so that its peak of memory is its own: the last lines show
that it does not grow with the text. The goal is 20 MB a second and core for bytes.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from proxy_training.corpus_build import build_corpus
from proxy_training.corpus_config import CorpusConfig, DomainConfig
from proxy_training.tokenizer_choice import Bytes, TokenizerChoice, TrainedBpe

DOCUMENT_BYTES = (200, 1_000, 5_000, 50_000)
USUAL_BYTES = 5_000
GROWTH = 4  # the larger of the two sizes whose peaks are compared


def documents(document_bytes: int, total_bytes: int) -> Iterator[str]:
    """Documents of random words, each with its number, so that no two are equal."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 10))) for _ in range(5_000)]
    for number in range(total_bytes // document_bytes):
        text = f"{number} " + " ".join(rng.choices(words, k=document_bytes // 5))
        yield text[:document_bytes]


def json_lines(document_bytes: int, total_bytes: int) -> Iterator[bytes]:
    return (json.dumps({"text": text}).encode() + b"\n" for text in documents(document_bytes, total_bytes))


def write_text(path: Path, document_bytes: int, total_bytes: int) -> None:
    """JSON Lines."""
    with path.open("wb") as file:
        file.writelines(json_lines(document_bytes, total_bytes))


def write_gzip(path: Path, document_bytes: int, total_bytes: int) -> None:
    with gzip.open(path, "wb", compresslevel=6) as file:
        file.writelines(json_lines(document_bytes, total_bytes))


def write_zstd(path: Path, document_bytes: int, total_bytes: int) -> None:
    with path.open("wb") as file, zstandard.ZstdCompressor().stream_writer(file) as writer:
        for line in json_lines(document_bytes, total_bytes):
            writer.write(line)


def batches(document_bytes: int, total_bytes: int) -> Iterator[pa.RecordBatch]:
    rows = documents(document_bytes, total_bytes)
    while chunk := [text for _, text in zip(range(1000), rows, strict=False)]:
        yield pa.record_batch({"text": chunk})


def write_parquet(path: Path, document_bytes: int, total_bytes: int) -> None:
    with pq.ParquetWriter(path, pa.schema({"text": pa.string()})) as writer:
        for batch in batches(document_bytes, total_bytes):
            writer.write_batch(batch, row_group_size=100_000)


def write_arrow(path: Path, document_bytes: int, total_bytes: int) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, pa.schema({"text": pa.string()})) as writer:
        for batch in batches(document_bytes, total_bytes):
            writer.write_batch(batch)


FORMATS: dict[str, Callable[[Path, int, int], None]] = {
    "text.jsonl": write_text,
    "text.jsonl.gz": write_gzip,
    "text.jsonl.zst": write_zstd,
    "text.parquet": write_parquet,
    "text.arrow": write_arrow,
}


class Measured(NamedTuple):
    megabytes: float
    cpu_seconds: float
    peak_mib: float

    @property
    def speed(self) -> float:
        return self.megabytes / self.cpu_seconds


def measure(path: Path, tokenizer: TokenizerChoice) -> Measured:
    """One build in a fresh process, so that its peak is its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_build, path, tokenizer).result()


def _build(path: Path, tokenizer: TokenizerChoice) -> Measured:
    domain = DomainConfig(name="words", files=(path.name,))
    config = CorpusConfig(folder=path.parent, domains=(domain,), tokenizer=tokenizer)
    start = time.process_time()  # the user's and the system's
    manifest = build_corpus(config, path.parent / "corpus", overwrite=True)
    seconds = time.process_time() - start
    return Measured(sum(split.bytes for split in manifest.domains[0].splits) / 1e6, seconds, _peak_mib())


def _peak_mib() -> float:
    """The most memory that this process held; ``ru_maxrss`` would count what its parent held when it was started."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of building a corpus.")
    parser.add_argument("--megabytes", type=int, default=40, help="text of each build")
    total_bytes = parser.parse_args().megabytes * 1_000_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print("bytes, JSON Lines, by length of document")
        for document_bytes in DOCUMENT_BYTES:
            path = folder / "lengths.jsonl"
            write_text(path, document_bytes, total_bytes)
            print(f"  {document_bytes:>6,} bytes    {measure(path, Bytes()).speed:7.1f} MB a CPU second")
        print(f"bytes, documents of {USUAL_BYTES:,} bytes, by format; peak memory for this and {GROWTH} times as much")
        for file, write in FORMATS.items():
            write(folder / file, USUAL_BYTES, total_bytes)
            once = measure(folder / file, Bytes())
            write(folder / file, USUAL_BYTES, GROWTH * total_bytes)
            more = measure(folder / file, Bytes())
            peaks = (f"{found.peak_mib:4.0f} MiB for {found.megabytes:.0f} MB" for found in (once, more))
            print(f"  {file:<14}  {once.speed:7.1f} MB a CPU second    {', '.join(peaks)}")
        print("BPE trained on a sample of the text, by size of vocabulary (the training is in the time)")
        write_text(folder / "text.jsonl", USUAL_BYTES, total_bytes)
        for vocab_size in (4096, 32768):
            choice = TrainedBpe(vocab_size=vocab_size, sample_bytes=2_000_000)
            found = measure(folder / "text.jsonl", choice)
            print(f"  {vocab_size:>6,} tokens   {found.speed:7.1f} MB a CPU second    {found.peak_mib:4.0f} MiB")


if __name__ == "__main__":
    main()
