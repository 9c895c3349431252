"""What ``mixwright corpus build`` is told: a YAML file that names domains, their files, sources and licences.

    tokenizer: bytes              # the default; or {bpe: {vocab_size: 4096, sample_bytes: 20000000}}, trained on a
                                  # sample of this text; or {file: tokenizer.json}, of Hugging Face
    validation_fraction: 0.05     # of the documents, chosen by their hash; the default
    context: 64                   # every domain must fill at least one sequence of this many tokens; the default
    domains:
      - name: law
        files: [law.jsonl, "statutes/**/*.txt", letters]
        source: "where the text is from"
        licence: "CC0-1.0"
      - name: web
        files: [dumps/, "crawl/*.parquet", tokens/web_text_document]
        text_field: content                      # of JSON Lines, Parquet and Arrow; the default is text
        megatron_tokenizer: qwen/tokenizer.json  # what made Megatron's tokens; the default is the corpus's own file

``files`` are paths, folders or globs, relative to the file itself. In a folder every file counts, but hidden ones.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError, field_validator

from proxy_training.errors import CorpusError
from proxy_training.spec import ModelSpec, Record
from proxy_training.tokenizer_choice import Bytes, TokenizerChoice, parse_tokenizer


def _text(value: object) -> object:
    """YAML reads ``no``, ``1.10`` and ``2024-01-01`` as other things than text; guessing back would lose characters."""
    if not isinstance(value, str):
        raise ValueError(f"must be text, but YAML reads it as {value!r}; put it in quotes")
    return value


Text = Annotated[str, BeforeValidator(_text)]


class DomainConfig(Record):
    """One domain: its name, where its text is, and what the manifest shall say about its origin."""

    name: Annotated[Text, Field(min_length=1, max_length=200)]
    files: tuple[Annotated[Text, Field(min_length=1)], ...] = Field(min_length=1)
    source: Text = ""
    licence: Text = ""
    text_field: Annotated[Text, Field(min_length=1)] = "text"
    megatron_tokenizer: Annotated[Text, Field(min_length=1)] | None = None


class CorpusConfig(Record):
    """A corpus to be built. ``folder`` is where the relative names of files start."""

    folder: Path
    tokenizer: Annotated[SerializeAsAny[TokenizerChoice], BeforeValidator(parse_tokenizer)] = Bytes()
    validation_fraction: float = Field(default=0.05, gt=0, lt=1)
    context: int = Field(default=ModelSpec().context, ge=8, le=8192)
    domains: tuple[DomainConfig, ...] = Field(min_length=1)

    @field_validator("domains")
    @classmethod
    def _names_differ(cls, domains: tuple[DomainConfig, ...]) -> tuple[DomainConfig, ...]:
        name, count = Counter(domain.name for domain in domains).most_common(1)[0]
        if count > 1:
            raise ValueError(f"the name {name!r} stands {count} times; every domain needs its own")
        return domains


def read_config(path: Path) -> CorpusConfig:
    """The configuration in the YAML file ``path``.

    Raises:
        CorpusError: naming the file and the first thing in it that is wrong.
    """
    try:
        data = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=_StrictLoader)
    except FileNotFoundError as exc:
        raise CorpusError(f"there is no corpus configuration {path}") from exc
    except OSError as exc:
        raise CorpusError(f"the corpus configuration {path} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise CorpusError(f"the corpus configuration {path} is not UTF-8 text") from exc
    except yaml.YAMLError as exc:
        raise CorpusError(f"{path} is not YAML: {_yaml_problem(exc)}") from exc
    if not isinstance(data, dict):
        raise CorpusError(f"{path} must hold keys and values, of which 'domains' is required")
    if "folder" in data:
        raise CorpusError(f"{path}: unknown key 'folder'; accepted: {_keys_of(CorpusConfig)}")
    try:
        return CorpusConfig.model_validate({**data, "folder": path.resolve().parent})
    except ValidationError as exc:
        raise CorpusError(f"{path}: {_first_problem(exc)}") from exc


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping; YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        for key, count in keys.items():
            if count > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _yaml_problem(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{error.problem} (line {mark.line + 1}, column {mark.column + 1})"
    return str(error)


def _first_problem(error: ValidationError) -> str:
    """One sentence about the first wrong value, in the words of the YAML file."""
    first = error.errors(include_url=False)[0]
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
    parent, _, key = where.rpartition(".")
    inside = f" in {parent}" if parent else ""
    if first["type"] == "missing":
        return f"the key {key!r} is missing{inside}"
    if first["type"] == "extra_forbidden":
        return f"unknown key {key!r}{inside}; accepted: {_keys_of(DomainConfig if parent else CorpusConfig)}"
    if first["type"] == "tuple_type":
        return f"{where} must be a list"
    if first["type"] in ("model_type", "dict_type"):
        return f"{where} must hold the keys {_keys_of(DomainConfig)}"
    if first["type"] == "too_short":
        return f"{where} is empty"
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {message[:1].lower()}{message[1:]}"


def _keys_of(record: type[Record]) -> str:
    return ", ".join(name for name in record.model_fields if name != "folder")
