"""Named model shapes, from what one CPU core trains in a second to what fills a GPU.

The name is the count of non-embedding parameters with SwiGLU. Heads are 16 wide in the smallest models and 64 wide
from 5M on, depth grows slower than width, and feed-forward widths are about 8/3 of the model's (Touvron et al. 2023,
LLaMA, section 2.2), rounded to what matrix units like. ``context`` is what the size is usually trained with.
"""

from __future__ import annotations

from typing import Literal, get_args

PresetName = Literal["0.03M", "0.2M", "1M", "5M", "15M", "20M", "30M", "60M", "150M"]

SHAPE_FIELDS = ("d_model", "n_layers", "n_heads", "d_ff", "context")

_SHAPES: dict[PresetName, tuple[int, int, int, int, int]] = {
    "0.03M": (32, 2, 2, 96, 64),
    "0.2M": (64, 4, 4, 176, 64),
    "1M": (128, 5, 4, 344, 128),
    "5M": (256, 6, 4, 688, 256),
    "15M": (384, 8, 6, 1024, 512),
    "20M": (448, 8, 7, 1200, 512),
    "30M": (512, 10, 8, 1280, 512),
    "60M": (640, 12, 10, 1712, 1024),
    "150M": (1024, 12, 16, 2736, 1024),
}

PRESETS: dict[str, dict[str, int]] = {
    name: dict(zip(SHAPE_FIELDS, shape, strict=True)) for name, shape in _SHAPES.items()
}
assert tuple(PRESETS) == get_args(PresetName)
