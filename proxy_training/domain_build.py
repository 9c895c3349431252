"""One domain of a corpus while it is built: its blocks go out to be encoded, what comes back is split and written."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from proxy_training.build_progress import Meter
from proxy_training.domain_files import DomainFiles
from proxy_training.encoded import HASH_BYTES, Encoded
from proxy_training.errors import CorpusError
from proxy_training.manifest import DomainManifest
from proxy_training.readers import read_blocks
from proxy_training.readers.base import BLOCK_BYTES, Block
from proxy_training.shard_writer import ShardWriter
from proxy_training.worker_pool import OrderedMap

_SPLIT_BYTES = 8  # of the hash; the rest orders the validation documents, independently of the split
_MOST_BLOCKS = 64  # in one task: many small files are few messages


def first_train_hash(validation_fraction: float) -> bytes:
    """Hashes are uniform: those below the fraction of all numbers of 8 bytes are the fraction of the documents."""
    return int(validation_fraction * 2 ** (8 * _SPLIT_BYTES)).to_bytes(_SPLIT_BYTES, "big")


@dataclass
class DomainBuild:
    """One domain while it is built."""

    files: DomainFiles
    number: int
    first_train_hash: bytes
    context: int  # tokens of a sequence
    seen: set[bytes]  # hashes of the documents of all domains so far
    duplicates: int = 0
    empty: int = 0
    validation_keys: list[bytes] = field(default_factory=list)

    def run(self, folder: Path, meter: Meter, encode: OrderedMap[list[Block], Encoded]) -> DomainManifest:
        """Write the shards of the domain and say what they hold.

        Raises:
            CorpusError: when its files are not what they must be or hold too little.
            OSError: when the shards cannot be written.
        """
        domain = self.files.domain
        meter.report(domain.name, self.files.first_byte)
        stem = f"{self.number:03d}-{re.sub(r'[^A-Za-z0-9]+', '-', domain.name)[:40].strip('-') or 'domain'}"
        with ShardWriter(folder, f"{stem}.train") as train, ShardWriter(folder, f"{stem}.validation") as validation:
            under_way: deque[int] = deque()  # where the meter stands after each task
            for encoded in encode(self._tasks(under_way)):
                self.empty += encoded.empty
                self._add(encoded, train, validation)
                meter.report(domain.name, under_way.popleft())
            meter.report(domain.name, self.files.last_byte)
            self._check_enough(train, validation)
            return DomainManifest(
                name=domain.name,
                source=domain.source,
                licence=domain.licence,
                duplicates_dropped=self.duplicates,
                empty_dropped=self.empty,
                train=train.finish(),
                validation=validation.finish_ordered(self.validation_keys),
            )

    def _tasks(self, under_way: deque[int]) -> Iterator[list[Block]]:
        """The blocks of the domain in lists that are worth a message to a worker."""
        blocks, held, read_bytes = [], 0, self.files.first_byte
        for path, size in zip(self.files.paths, self.files.sizes, strict=True):
            for block in read_blocks(path, self.files.source):
                blocks.append(block)
                held += block.size
                if held >= BLOCK_BYTES or len(blocks) == _MOST_BLOCKS:
                    under_way.append(read_bytes + block.position)
                    yield blocks
                    blocks, held = [], 0
            read_bytes += size
        if blocks:
            under_way.append(read_bytes)
            yield blocks

    def _add(self, encoded: Encoded, train: ShardWriter, validation: ShardWriter) -> None:
        count = len(encoded.token_counts)
        to_train, to_validation = bytearray(count), bytearray(count)
        for number in range(count):
            digest = encoded.digests[HASH_BYTES * number : HASH_BYTES * (number + 1)]
            if digest in self.seen:
                self.duplicates += 1
                continue
            self.seen.add(digest)
            if digest < self.first_train_hash:
                self.validation_keys.append(digest[_SPLIT_BYTES:])
                to_validation[number] = True
            else:
                to_train[number] = True
        _write(encoded, np.frombuffer(to_train, np.bool_), train)
        _write(encoded, np.frombuffer(to_validation, np.bool_), validation)

    def _check_enough(self, train: ShardWriter, validation: ShardWriter) -> None:
        """Every domain must be able to give one training sequence and one validation sequence."""
        name, wanted = self.files.domain.name, self.context + 1  # a sequence and the label of its last token
        documents = train.documents + validation.documents
        if documents == 0:
            raise CorpusError(
                f"domain {name!r} has no document left: {self.empty} were empty, "
                f"{self.duplicates} were copies of earlier documents"
            )
        if train.tokens + validation.tokens < wanted:
            raise CorpusError(
                f"domain {name!r} has only {train.tokens + validation.tokens} tokens; one sequence needs {wanted} "
                f"(the context of {self.context} and one label)"
            )
        if validation.longest_tokens < wanted:
            raise CorpusError(
                f"domain {name!r} has no validation document of {wanted} tokens or more: {validation.documents} of "
                f"its {documents} documents fell to validation; give it more documents (a plain text file is one "
                f"document, a JSONL line is one) or a larger validation_fraction"
            )
        if train.tokens < wanted:
            raise CorpusError(
                f"domain {name!r} has only {train.tokens} training tokens in {train.documents} documents where one "
                f"sequence needs {wanted}; give it more documents or a smaller validation_fraction"
            )


def _write(encoded: Encoded, chosen: Bool[np.ndarray, " documents"], shard: ShardWriter) -> None:
    """Append the chosen documents to ``shard``."""
    if chosen.all():  # so that a document as large as memory allows is not copied
        shard.add(encoded.tokens, encoded.token_counts, encoded.byte_counts)
    elif chosen.any():
        tokens = encoded.tokens[np.repeat(chosen, encoded.token_counts)]
        shard.add(tokens, encoded.token_counts[chosen], encoded.byte_counts[chosen])
