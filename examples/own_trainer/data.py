"""The text of a run: a corpus that Mixwright has built, or a folder with one text file a domain."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np


class Domain:
    """The tokens of one domain, and the order that a run reads them in: equal in all runs with equal seeds."""

    def __init__(self, train: np.ndarray, held_out: np.ndarray, bytes_per_token: float, context: int, key: str) -> None:
        self.train, self.held_out, self.bytes_per_token, self.context = train, held_out, bytes_per_token, context
        self.windows = (len(train) - 1) // context
        self.given, self.key, self.order = 0, [*key.encode()], None

    def next_window(self) -> np.ndarray:
        """The next ``context + 1`` tokens; every epoch has an order of its own."""
        epoch, place = divmod(self.given, self.windows)
        if place == 0 or self.order is None:
            self.order = np.random.default_rng([*self.key, epoch]).permutation(self.windows)
        self.given += 1
        start = self.order[place] * self.context
        return self.train[start : start + self.context + 1]

    def held_out_batches(self, most_windows: int) -> Iterator[np.ndarray]:
        """The first windows of the held-out text, 64 at a time."""
        windows = min((len(self.held_out) - 1) // self.context, most_windows)
        starts = np.arange(windows)[:, None] * self.context + np.arange(self.context + 1)
        for first in range(0, windows, 64):
            yield self.held_out[starts[first : first + 64]].astype(np.int64)


def read_domains(
    names: list[str], corpus: str | None, texts: Path | None, context: int, seed: int
) -> dict[str, Domain]:
    """Every domain of the corpus or of the folder of texts.

    Raises:
        LookupError: one of ``names`` is not among them, or shorter than a sequence.
    """
    found: dict[str, Domain] = {}
    if texts is not None:
        for path in sorted(texts.glob("*.txt")):
            tokens = np.fromfile(path, np.uint8)
            cut = len(tokens) * 9 // 10
            found[path.stem] = Domain(tokens[:cut], tokens[cut:], 1.0, context, f"{seed}/{path.stem}")
    elif corpus is not None:
        manifest = json.loads((Path(corpus) / "manifest.json").read_text())
        for domain in manifest["domains"]:
            train, held_out = (
                np.memmap(Path(corpus) / domain[split]["shard"]["file"], manifest["dtype"], "r")
                for split in ("train", "validation")
            )
            ratio = domain["validation"]["bytes"] / max(domain["validation"]["tokens"], 1)
            found[domain["name"]] = Domain(train, held_out, ratio, context, f"{seed}/{domain['name']}")
    for name in names:
        if name not in found or not found[name].windows:
            known = ", ".join(found) or "none"
            raise LookupError(f"there is no domain {name!r} of {context + 1} tokens or more; there are {known}")
    return found
