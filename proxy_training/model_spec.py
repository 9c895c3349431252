"""The shape of a proxy model, by its numbers or by the name of a preset; and how many parameters that are."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from proxy_training.exact_numbers import Record
from proxy_training.model_presets import PRESETS, PresetName


class ModelSpec(Record):
    """A decoder-only transformer: RMSNorm, rotary positions, SwiGLU or GELU, tied or untied head.

    A ``preset`` stands for the shape that it names and is forgotten once that is filled in: two ways to write one
    model are one model. Beside a preset, ``context`` and what is no shape may still be given.
    """

    preset: PresetName | None = Field(default=None, exclude=True, description="a named shape, instead of its numbers")
    d_model: int = Field(default=32, ge=8, le=4096, description="width; a multiple of n_heads")
    n_layers: int = Field(default=2, ge=1, le=64)
    n_heads: int = Field(default=2, ge=1, le=64)
    d_ff: int = Field(default=96, ge=8, le=32768, description="hidden width of the feed-forward block")
    context: int = Field(default=64, ge=8, le=8192, description="tokens a sequence")
    vocab_size: int = Field(default=256, ge=2, le=262144)
    tied_head: bool = True
    feed_forward: Literal["swiglu", "gelu"] = "swiglu"

    @model_validator(mode="before")
    @classmethod
    def _fill_in_the_preset(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("preset") is None:
            return data
        given = dict(data)
        name = given.pop("preset")
        shape = PRESETS.get(name) if isinstance(name, str) else None
        if shape is None:
            raise ValueError(f"there is no preset {name!r}; there are {', '.join(PRESETS)}")
        for field in shape.keys() - {"context"}:
            if given.get(field, shape[field]) != shape[field]:
                raise ValueError(
                    f"preset {name!r} has {field} {shape[field]}, not {given[field]}; leave one of them out"
                )
        return shape | given

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        if self.d_model % self.n_heads or (self.d_model // self.n_heads) % 2:
            raise ValueError(f"d_model {self.d_model} over n_heads {self.n_heads} must be an even whole number")
        return self

    @property
    def non_embedding_params(self) -> int:
        """N of the scaling laws: attention, feed-forward and norms; neither embedding nor head."""
        matrices = 3 if self.feed_forward == "swiglu" else 2
        block = 4 * self.d_model**2 + matrices * self.d_model * self.d_ff + 2 * self.d_model
        return self.n_layers * block + self.d_model
