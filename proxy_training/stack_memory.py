"""How many bytes a stack needs at its worst moment. ``benchmarks/stack_memory.py`` holds this against measured peaks.

Notation as in ``model.py``: K proxies, P parameters, M tokens of a step, d width, f feed-forward width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy_training.head_loss import chunk_tokens
from proxy_training.model import layout_of
from proxy_training.spec import ModelSpec, ProxySettings

_FLOAT_BYTES = 4
# Parameters, their gradients and two moments: 16 bytes a parameter.
_STATE_COPIES = 4
# Under way at the end of a backward pass or in an update: gradients layer by layer, or the ratio of the moments.
_UPDATE_COPIES = 2
# Scores of the tokens that are looked at together, their probabilities, and what is computed from one to the other.
_SCORE_COPIES = 3


@dataclass(frozen=True)
class StackMemory:
    """Bytes that one more member of a stack adds."""

    state_bytes: int
    update_bytes: int
    step_bytes: int

    @property
    def member_bytes(self) -> int:
        """At the worst moment of a step: activations are gone when the update begins."""
        return self.state_bytes + max(self.update_bytes, self.step_bytes)


def stack_memory(settings: ProxySettings, device_type: str, activation_bytes: int = _FLOAT_BYTES) -> StackMemory:
    """What a member of a stack with ``settings`` needs.

    Args:
        activation_bytes: of one number between layers: 2 in bf16.
    """
    model, tokens = settings.model, settings.batch_sequences * settings.model.context
    params_bytes = _FLOAT_BYTES * layout_of(model).params
    activations = model.n_layers * _kept_floats(model) * activation_bytes
    scored = min(tokens, chunk_tokens(model.vocab_size, device_type))
    return StackMemory(
        state_bytes=_STATE_COPIES * params_bytes,
        update_bytes=_UPDATE_COPIES * params_bytes,
        step_bytes=tokens * activations + scored * _SCORE_COPIES * model.vocab_size * _FLOAT_BYTES,
    )


def _kept_floats(model: ModelSpec) -> int:
    """Numbers of one layer and token that wait for the backward pass.

    Two norms keep their input at unit scale and their output (4 d); attention keeps its input (3 d), turned queries
    and keys (2 d) and its output (2 d, once a head and once a token); the feed-forward block keeps both halves of its
    input, the activated one and their product (4 f, with GELU 2 f).
    """
    kept_widths = 4 if model.feed_forward == "swiglu" else 2
    return 11 * model.d_model + kept_widths * model.d_ff
