"""Small corpora of made-up text, built for a test the way a user builds one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml
from jaxtyping import UInt

from proxy_training.corpus_build import build_corpus
from proxy_training.corpus_config import read_config
from proxy_training.corpus_read import Corpus
from proxy_training.spec import ModelSpec, ProxySettings, ProxySpec, Stage

ALPHABETS = ("abcdefgh ", "ijklmnop ", "αβγδεζηθ ", "01234567 ")


def texts(seed: int, documents: int, characters: int = 300) -> list[str]:
    """Different documents over an alphabet that belongs to the seed."""
    rng = np.random.default_rng(seed)
    alphabet = list(ALPHABETS[seed % len(ALPHABETS)])
    return ["".join(rng.choice(alphabet, size=characters)) for _ in range(documents)]


def write_jsonl(path: Path, documents: Iterable[str]) -> Path:
    """One ``{"text": ...}`` a line."""
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents), encoding="utf-8")
    return path


def write_config(folder: Path, files: Mapping[str, Sequence[str]], **keys: object) -> Path:
    """A configuration with the files of every domain and any other top-level keys."""
    origin = {"source": "made up for a test", "licence": "CC0-1.0"}
    domains = [{"name": name, "files": list(entries), **origin} for name, entries in files.items()]
    path = folder / "corpus.yaml"
    path.write_text(yaml.safe_dump({"domains": domains, **keys}, allow_unicode=True), encoding="utf-8")
    return path


def make_corpus(folder: Path, domains: Mapping[str, Sequence[str]], **keys: object) -> Corpus:
    """The corpus of these documents, built in ``folder / "corpus"``."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, documents in enumerate(domains.values()):
        write_jsonl(folder / f"{number}.jsonl", documents)
    files = {name: [f"{number}.jsonl"] for number, name in enumerate(domains)}
    build_corpus(read_config(write_config(folder, files, **keys)), folder / "corpus", overwrite=True)
    return Corpus.open(folder / "corpus", verify=True)


def train_tokens_of(corpus: Corpus, domain: str) -> UInt[np.ndarray, " tokens"]:
    """All training tokens of a domain, documents one after another."""
    return corpus.train_windows(domain, np.array([0]), corpus.train_tokens(domain))[0]


def proxy_spec(corpus: Corpus, *stages: tuple[int, Mapping[str, float]], seed: int = 0, batch: int = 4) -> ProxySpec:
    """A spec of ``stages`` (tokens, weights) with a context of 16."""
    ends = np.cumsum([tokens for tokens, _ in stages]).tolist()
    settings = ProxySettings(
        model=ModelSpec(context=16),
        corpus_hash=corpus.corpus_hash,
        train_tokens=ends[-1],
        batch_sequences=batch,
    )
    starts = [0, *ends[:-1]]
    made = tuple(
        Stage(from_token=start, to_token=end, weights=dict(weights))
        for start, end, (_, weights) in zip(starts, ends, stages, strict=True)
    )
    return ProxySpec(settings=settings, stages=made, seed=seed)


def names_in(folder: Path) -> list[str]:
    """What lies in ``folder``, hidden names included."""
    return sorted(path.name for path in folder.iterdir())
