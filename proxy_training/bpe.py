"""Byte-level byte-pair encoding, trained on a sample of the corpus.

Sennrich et al. 2016, arXiv:1508.07909, Algorithm 1, on bytes in place of characters (Radford et al. 2019, section
2.2): with all 256 bytes in the vocabulary every text can be written, so there is no unknown token.
"""

from __future__ import annotations

from collections.abc import Iterator

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from proxy_training.errors import CorpusError
from proxy_training.json_tokenizer import JsonTokenizer


def train_bpe(texts: Iterator[str], vocab_size: int) -> JsonTokenizer:
    """A tokeniser of at most ``vocab_size`` tokens; the same for the same texts. A small sample gives fewer tokens.

    Raises:
        CorpusError: when there is no text.
    """
    first = next(texts, None)
    if first is None:
        raise CorpusError("the tokeniser cannot be trained: none of the domains has a training document")
    library = Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    library.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[],
        show_progress=False,
    )
    library.train_from_iterator(_with(first, texts), trainer)
    return JsonTokenizer(library.to_str(pretty=True).encode())


def _with(first: str, texts: Iterator[str]) -> Iterator[str]:
    yield first
    yield from texts
