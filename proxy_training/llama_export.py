"""A proxy taken out of its stack as a model folder in the Llama layout of Hugging Face, for ``transformers`` and what
reads its files.

    config.json, model.safetensors               what ``LlamaForCausalLM.from_pretrained(folder)`` loads
    tokenizer.json, tokenizer_config.json        the tokeniser of the corpus
    mixwright.json                               which run this is, its spec, its corpus, and that it is a proxy

The logits are those of :class:`~proxy_training.model.StackedDecoder`. What differs in the layout:

- our matrices map rows (in, out), those of ``torch.nn.Linear`` are (out, in);
- we rotate the pair (2i, 2i + 1) of a head, Llama the pair (i, i + width / 2): query and key columns are reordered;
- our head's output is divided by the relative width, Llama's is not: the gain of the last norm takes the factor.

Equal weights give equal bytes: nothing in the folder tells the time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from torch import Tensor

from proxy_training.attention import ROTARY_BASE
from proxy_training.corpus_read import Corpus
from proxy_training.errors import SpecError
from proxy_training.layers import NORM_EPS
from proxy_training.llama_tokenizer import write_tokenizer
from proxy_training.model import BASE_WIDTH, layout_of
from proxy_training.part_folder import part_folder
from proxy_training.spec import ModelSpec, ProxySpec

RECORD_FILE = "mixwright.json"
# Keys and their order would differ from process to process if there were more of them; the rest is in RECORD_FILE.
_FORMAT = {"format": "pt"}


@dataclass(frozen=True)
class TrainedProxy:
    """One proxy after ``train_tokens`` tokens; ``row`` (P,) are its parameters in the order of its layout."""

    run_id: str
    spec: ProxySpec
    corpus: Corpus
    train_tokens: int
    row: Tensor


def check_exportable(model: ModelSpec) -> None:
    """Refuse a model that the Llama layout cannot hold.

    Raises:
        SpecError: saying which would do.
    """
    if model.feed_forward != "swiglu":
        raise SpecError(
            f"a model with feed_forward {model.feed_forward!r} cannot be saved in the Llama layout, "
            "which has only 'swiglu'; train it without saving or measuring models, or with swiglu"
        )


def save_llama(proxy: TrainedProxy, folder: Path) -> None:
    """Save ``proxy`` as ``folder``, whole or not at all; what stood there is replaced.

    Raises:
        SpecError: the model has no Llama layout.
        OSError: the disk is full or the place is not writable; what stood there is then as it was.
    """
    model = proxy.spec.settings.model
    check_exportable(model)
    with part_folder(folder) as part:
        save_file(llama_tensors(model, proxy.row), part.path / "model.safetensors", _FORMAT)
        _write_json(part.path / "config.json", _config(model))
        _write_json(part.path / RECORD_FILE, _record(proxy))
        write_tokenizer(proxy.corpus, model.context, part.path)
        part.publish()


def llama_tensors(model: ModelSpec, row: Tensor) -> dict[str, np.ndarray]:
    """The parameters (P,) of one proxy, float32, under the names and in the shapes of ``LlamaForCausalLM``."""
    weights = {name: part[0].numpy() for name, part in layout_of(model).unpack(row.detach().cpu()[None]).items()}
    tensors = {
        "model.embed_tokens.weight": weights["embedding"],
        "model.norm.weight": weights["final_norm"] * np.float32(BASE_WIDTH / model.d_model),
    }
    if not model.tied_head:
        tensors["lm_head.weight"] = weights["head"]
    order = _halves(model)
    for layer in range(model.n_layers):
        query, key, value = np.split(weights[f"{layer}.query_key_value"], 3, axis=1)
        gate, up = np.split(weights[f"{layer}.gate_up"], 2, axis=1)
        block = {
            "input_layernorm": weights[f"{layer}.attention_norm"],
            "self_attn.q_proj": query[:, order].T,
            "self_attn.k_proj": key[:, order].T,
            "self_attn.v_proj": value.T,
            "self_attn.o_proj": weights[f"{layer}.attention_out"].T,
            "post_attention_layernorm": weights[f"{layer}.feed_forward_norm"],
            "mlp.gate_proj": gate.T,
            "mlp.up_proj": up.T,
            "mlp.down_proj": weights[f"{layer}.down"].T,
        }
        tensors |= {f"model.layers.{layer}.{name}.weight": part for name, part in block.items()}
    # safetensors writes the memory as it lies, whatever the strides say.
    return {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}


def _halves(model: ModelSpec) -> np.ndarray:
    """For every column of Llama's queries our column: within a head first the even ones, then the odd ones, (d,)."""
    columns = np.arange(model.d_model).reshape(model.n_heads, -1, 2)
    return columns.transpose(0, 2, 1).reshape(-1)


def _config(model: ModelSpec) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": model.vocab_size,
        "hidden_size": model.d_model,
        "intermediate_size": model.d_ff,
        "num_hidden_layers": model.n_layers,
        "num_attention_heads": model.n_heads,
        "num_key_value_heads": model.n_heads,
        "head_dim": model.d_model // model.n_heads,
        "hidden_act": "silu",
        "max_position_embeddings": model.context,
        "rms_norm_eps": NORM_EPS,
        "rope_theta": ROTARY_BASE,
        "rope_parameters": {"rope_type": "default", "rope_theta": ROTARY_BASE},
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": model.tied_head,
        # Our corpora know no marks between documents.
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
        "torch_dtype": "float32",
    }


def _record(proxy: TrainedProxy) -> dict[str, Any]:
    return {
        "what": "a small proxy model that stands for a larger run; not meant for use",
        "run_id": proxy.run_id,
        "train_tokens": proxy.train_tokens,
        "corpus_hash": proxy.corpus.corpus_hash,
        "tokenizer": proxy.corpus.tokenizer,
        "written_by": f"mixwright {version('mixwright')}",
        "spec": proxy.spec.model_dump(mode="json"),
    }


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
