"""How fast ``corpus build`` turns JSON Lines into a corpus, by length of document: MB of text a CPU second, one core.

    python -m benchmarks.corpus_speed [--megabytes 40]

The text is made up, without copies, and lies in a temporary folder; hashing, splitting, checksums and syncing to disk
are all in the time.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import tempfile
import time
from pathlib import Path

from proxy_training.corpus_build import build_corpus
from proxy_training.corpus_config import CorpusConfig, DomainConfig

DOCUMENT_BYTES = (200, 1_000, 5_000, 50_000)


def write_text(path: Path, document_bytes: int, total_bytes: int) -> None:
    """Documents of random words, each with its number, so that no two are equal."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 10))) for _ in range(5_000)]
    with path.open("w", encoding="utf-8") as file:
        for number in range(total_bytes // document_bytes):
            text = f"{number} " + " ".join(rng.choices(words, k=document_bytes // 5))
            file.write(json.dumps({"text": text[:document_bytes]}) + "\n")


def megabytes_per_second(folder: Path, document_bytes: int, total_bytes: int) -> float:
    """Text built a CPU second, the user's and the system's."""
    path = folder / f"{document_bytes}.jsonl"
    write_text(path, document_bytes, total_bytes)
    config = CorpusConfig(folder=folder, domains=(DomainConfig(name="words", files=(path.name,)),))
    start = time.process_time()
    manifest = build_corpus(config, folder / f"corpus-{document_bytes}")
    seconds = time.process_time() - start
    return sum(split.bytes for split in manifest.domains[0].splits) / 1e6 / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of building a corpus.")
    parser.add_argument("--megabytes", type=int, default=40, help="text for each length of document")
    total_bytes = parser.parse_args().megabytes * 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        for document_bytes in DOCUMENT_BYTES:
            speed = megabytes_per_second(Path(folder), document_bytes, total_bytes)
            print(f"documents of {document_bytes:>6,} bytes: {speed:6.1f} MB a CPU second")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of the process: {peak:.0f} MiB")


if __name__ == "__main__":
    main()
