"""The demo's tokenised corpus: built by ``mixwright corpus build`` from the gathered text, or found from last time."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from app.demo.errors import DemoFailed
from app.demo.gather import RECORD_FILE, GatheredText
from app.formats.corpus_manifest import read_corpus
from app.formats.errors import FormatError
from app.schemas.studies import DomainIn


@dataclass(frozen=True)
class DemoCorpus:
    """A corpus folder, the hash that proxy runs name it by, and its domains as a study wants them."""

    folder: Path
    corpus_hash: str
    domains: tuple[DomainIn, ...]

    @property
    def available_tokens(self) -> int:
        return sum(domain.available_tokens or 0 for domain in self.domains)


def find_or_build(text: GatheredText, parent: Path) -> DemoCorpus:
    """The corpus of exactly this text, in a folder of ``parent`` that is named after the record of the text.

    Raises:
        DemoFailed: the build failed; its own sentence has gone to stderr.
    """
    record = (text.folder / RECORD_FILE).read_bytes() + text.config.read_bytes()
    folder = parent / f"corpus-{hashlib.sha256(record).hexdigest()[:12]}"
    if not (folder / "manifest.json").is_file():  # the builder renames the whole folder into place when it is done
        command = [sys.executable, "-m", "app.cli", "corpus", "build", str(text.config), "--out", str(folder)]
        # Its table of the corpus goes to the demo's own report instead; progress and errors are on stderr.
        if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode != 0:
            raise DemoFailed("the corpus could not be built from the gathered text")
    return _read(folder)


def _read(folder: Path) -> DemoCorpus:
    try:
        corpus = read_corpus(folder)
    except (FormatError, OSError) as exc:
        raise DemoFailed(f"the corpus folder {folder} is damaged; remove it and start again") from exc
    domains = tuple(
        DomainIn(name=domain.name, available_tokens=domain.tokens, source=domain.source, licence=domain.licence)
        for domain in corpus.domains
    )
    return DemoCorpus(folder, corpus.corpus_hash, domains)
