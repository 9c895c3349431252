"""Which tokeniser a configuration asks for: ``bytes``, ``{bpe: {vocab_size: 4096}}`` or ``{file: tokenizer.json}``.

A new kind is one class and one line in ``TOKENIZERS``. The ``tokenizers`` library is imported when one is made.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

from pydantic import Field, ValidationError

from proxy_training.spec import Record
from proxy_training.tokenizer import ByteTokenizer, Tokenizer

# Texts of the corpus, about as many bytes as asked for.
Sample = Callable[[int], Iterator[str]]


class TokenizerChoice(Record, ABC):
    """One kind of tokeniser with its settings, which are the fields of the record."""

    name: ClassVar[str]

    @abstractmethod
    def make(self, folder: Path, sample: Sample) -> Tokenizer:
        """The tokeniser; names of files are relative to ``folder``.

        Raises:
            CorpusError: when it cannot be made.
        """


class Bytes(TokenizerChoice):
    """A token is a byte."""

    name = "bytes"

    def make(self, folder: Path, sample: Sample) -> Tokenizer:
        del folder, sample
        return ByteTokenizer()


class TrainedBpe(TokenizerChoice):
    """A byte-level BPE trained on training documents of all domains, each giving an equal share of ``sample_bytes``."""

    name = "bpe"
    vocab_size: int = Field(default=4096, ge=257, le=262144)
    sample_bytes: int = Field(default=20_000_000, ge=1000, le=1 << 30)

    def make(self, folder: Path, sample: Sample) -> Tokenizer:
        del folder
        from proxy_training.bpe import train_bpe

        return train_bpe(sample(self.sample_bytes), self.vocab_size)


class TokenizerFile(TokenizerChoice):
    """A Hugging Face ``tokenizer.json``."""

    name = "file"
    path: str = Field(min_length=1)

    def make(self, folder: Path, sample: Sample) -> Tokenizer:
        del sample
        from proxy_training.json_tokenizer import read_tokenizer

        return read_tokenizer(folder / self.path)


TOKENIZERS: dict[str, type[TokenizerChoice]] = {kind.name: kind for kind in (Bytes, TrainedBpe, TokenizerFile)}
_ACCEPTED = "accepted: bytes, {bpe: {vocab_size: 4096}}, {file: tokenizer.json}"


def parse_tokenizer(value: object) -> TokenizerChoice:
    """The choice that a YAML value means.

    Raises:
        ValueError: saying what is accepted.
    """
    if isinstance(value, TokenizerChoice):
        return value
    name, settings = _name_and_settings(value)
    if name not in TOKENIZERS:
        raise ValueError(f"there is no tokeniser {name!r}; {_ACCEPTED}")
    if name == TokenizerFile.name:
        settings = {"path": settings}  # its one setting stands without a key
    if not isinstance(settings, dict):
        raise ValueError(f"{name} must hold keys, not {settings!r}; {_ACCEPTED}")
    try:
        return TOKENIZERS[name].model_validate(settings)
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = ", ".join(TOKENIZERS[name].model_fields) or "none"
            raise ValueError(f"unknown key {key!r} of {name}; accepted: {known}") from exc
        where = name if name == TokenizerFile.name else f"{key} of {name}"
        raise ValueError(f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}; {_ACCEPTED}") from exc


def _name_and_settings(value: object) -> tuple[str, object]:
    if isinstance(value, str):
        return value, None if value == TokenizerFile.name else {}
    if isinstance(value, dict) and len(value) == 1:
        name, settings = next(iter(value.items()))
        return str(name), settings
    raise ValueError(f"{value!r} names no tokeniser; {_ACCEPTED}")
