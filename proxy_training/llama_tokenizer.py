"""The tokeniser of a corpus as the files that ``transformers`` reads beside a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from proxy_training.corpus_read import Corpus
from proxy_training.tokenizer import TOKENIZER_FILE, ByteTokenizer, read_tokenizer_file


def write_tokenizer(corpus: Corpus, context: int, folder: Path) -> None:
    """Write ``tokenizer.json`` and ``tokenizer_config.json`` into ``folder``.

    They cut text as the corpus was cut, which has no special tokens: where a tokeniser of the user's own adds some,
    ``add_special_tokens=False`` leaves them out.

    Raises:
        CorpusError: the tokeniser of the corpus cannot be read any more.
        OSError: the disk is full.
    """
    if corpus.tokenizer == ByteTokenizer.name:
        content = json.dumps(byte_tokenizer(), ensure_ascii=False, indent=2).encode() + b"\n"
    else:
        content = read_tokenizer_file(corpus.folder / TOKENIZER_FILE)
    (folder / TOKENIZER_FILE).write_bytes(content)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,  # it would change the decoded text
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def byte_tokenizer() -> dict[str, Any]:
    """The byte tokeniser as a ``tokenizer.json``: BPE over bytes without a single merge; an id is the byte's value."""
    by_byte = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": by_byte,
        "post_processor": None,
        "decoder": by_byte,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {character: byte for byte, character in enumerate(_characters())},
            "merges": [],
        },
    }


def _characters() -> list[str]:
    """The visible character that stands for each byte in byte-level BPE (Radford et al. 2019, GPT-2's encoder.py):
    printable ones for themselves, the others for the characters from 256 on, in order."""
    visible = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = iter(range(256, 512))
    return [chr(byte if byte in visible else next(others)) for byte in range(256)]
