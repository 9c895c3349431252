"""A proxy out of the stack is the same model to transformers, and its folder says where it came from."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from proxy_training.corpus_read import Corpus
from proxy_training.errors import SpecError
from proxy_training.llama_export import TrainedProxy, save_llama
from proxy_training.llama_tokenizer import byte_tokenizer
from proxy_training.model import StackedDecoder, layout_of
from proxy_training.spec import ModelSpec
from tests.proxy_training.text_corpora import make_corpus, names_in, texts
from tests.proxy_training.training_cases import TINY, run_of, tiny_settings

needs_transformers = pytest.mark.skipif(find_spec("transformers") is None, reason="transformers is not installed")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_corpus(tmp_path_factory.mktemp("corpus"), {"a": texts(0, 40), "b": texts(1, 40)}, context=16)


def proxy_of(corpus: Corpus, model: ModelSpec, run_id: str = "run-1") -> TrainedProxy:
    """A proxy whose numbers were all drawn, gains too: a forgotten one would show."""
    row = layout_of(model).initial_row(3)
    row += 0.1 * torch.randn(row.shape, generator=torch.Generator().manual_seed(4))
    return TrainedProxy(run_id, run_of(tiny_settings(corpus, model=model), {"a": 1.0}), corpus, 128, row)


@needs_transformers
@pytest.mark.parametrize(
    "model",
    [
        ModelSpec(d_model=32, n_layers=2, n_heads=1, d_ff=24, context=16),
        ModelSpec(d_model=48, n_layers=3, n_heads=4, d_ff=40, context=24, tied_head=False),
        ModelSpec(d_model=8, n_layers=1, n_heads=4, d_ff=16, context=16, vocab_size=300),
    ],
    ids=["tied", "untied", "pairs"],
)
def test_transformers_gives_the_logits_of_our_decoder(corpus: Corpus, tmp_path: Path, model: ModelSpec) -> None:
    from transformers import LlamaForCausalLM

    proxy = proxy_of(corpus, model)
    save_llama(proxy, tmp_path / "model")
    llama = LlamaForCausalLM.from_pretrained(tmp_path / "model")
    tokens = torch.randint(model.vocab_size, (1, 3, model.context), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        theirs = llama(tokens[0]).logits
    ours = StackedDecoder(model).logits(proxy.row[None], tokens).view(3, model.context, model.vocab_size)
    assert llama.dtype == torch.float32
    assert torch.allclose(theirs, ours, rtol=1e-5, atol=1e-5)
    assert float(ours.std()) > 0.1  # otherwise nearly anything would agree


@needs_transformers
def test_transformers_reads_a_byte_tokenizer_whose_ids_are_the_bytes(corpus: Corpus, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    save_llama(proxy_of(corpus, TINY), tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    text = "  Ünïcode, 日本語 🙂\n\ttabs ,  don't\x00\x7f <s> </s>"
    assert tokenizer(text)["input_ids"] == list(text.encode())
    assert tokenizer.decode(list(text.encode())) == text


@needs_transformers
def test_transformers_cuts_text_as_a_corpus_with_a_bpe_was_cut(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    documents = {"a": texts(0, 40), "b": texts(2, 40)}
    corpus = make_corpus(
        tmp_path, documents, context=16, validation_fraction=0.2, tokenizer={"bpe": {"vocab_size": 300}}
    )
    model = ModelSpec(d_model=8, n_layers=1, n_heads=1, d_ff=8, context=16, vocab_size=corpus.vocab_size)
    save_llama(proxy_of(corpus, model), tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    document = corpus.validation_documents("b")[0].tolist()
    text = tokenizer.decode(document)
    assert text in documents["b"]
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == document


def test_the_byte_tokenizer_gives_every_byte_its_own_value() -> None:
    tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(byte_tokenizer()))
    # Every byte that UTF-8 can hold: 0x00-0x7f alone, continuation bytes, and the leading ones of 2, 3 and 4 bytes.
    text = (
        "".join(map(chr, range(0x800))) + "".join(map(chr, range(0x800, 0xD800, 61))) + "\U00010000\U000bffff\U0010ffff"
    )
    ids = tokenizer.encode(text).ids
    assert ids == list(text.encode())
    assert tokenizer.get_vocab_size() == 256
    assert len(set(ids)) > 235


def test_the_folder_says_which_run_and_corpus_it_came_from_and_that_it_is_a_proxy(
    corpus: Corpus, tmp_path: Path
) -> None:
    proxy = proxy_of(corpus, TINY)
    save_llama(proxy, tmp_path / "model")
    names = ["config.json", "mixwright.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert names_in(tmp_path / "model") == names
    record = json.loads((tmp_path / "model" / "mixwright.json").read_text())
    assert (record["run_id"], record["corpus_hash"], record["train_tokens"]) == ("run-1", corpus.corpus_hash, 128)
    assert record["spec"] == proxy.spec.model_dump(mode="json")
    assert "proxy" in record["what"]


def test_equal_weights_give_equal_bytes_and_other_weights_replace_the_folder(corpus: Corpus, tmp_path: Path) -> None:
    proxy = proxy_of(corpus, TINY)
    save_llama(proxy, tmp_path / "one")
    save_llama(proxy, tmp_path / "two")
    assert content(tmp_path / "one") == content(tmp_path / "two")
    other = TrainedProxy(proxy.run_id, proxy.spec, corpus, 128, proxy.row + 1)
    save_llama(other, tmp_path / "two")
    assert {name for name, data in content(tmp_path / "two").items() if data != content(tmp_path / "one")[name]} == {
        "model.safetensors"
    }
    assert names_in(tmp_path) == ["one", "two"]


def test_the_weights_are_all_there_and_counted_once(corpus: Corpus, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    proxy = proxy_of(corpus, TINY)
    save_llama(proxy, tmp_path / "model")
    tensors = safetensors.load_file(tmp_path / "model" / "model.safetensors")
    assert sum(tensor.size for tensor in tensors.values()) == layout_of(TINY).params
    assert all(tensor.dtype == np.float32 for tensor in tensors.values())


def test_a_gelu_model_is_refused_before_anything_is_written(corpus: Corpus, tmp_path: Path) -> None:
    model = ModelSpec(d_model=16, n_layers=1, n_heads=2, d_ff=24, context=16, feed_forward="gelu")
    proxy = proxy_of(corpus, model)
    with pytest.raises(SpecError, match="feed_forward 'gelu' cannot be saved in the Llama layout, which has only 'swi"):
        save_llama(proxy, tmp_path / "model")
    assert names_in(tmp_path) == []


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
