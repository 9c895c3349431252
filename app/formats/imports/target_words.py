"""What the name of a metric tells of it, for sources that say no more.

| the name holds                                       | direction | unit             |
|------------------------------------------------------|-----------|------------------|
| bpb, bits_per_byte                                   | minimize  | bits_per_byte    |
| perplexity, ppl                                      | minimize  | perplexity       |
| loss, nll, cross_entropy                             | minimize  | nats_per_token   |
| acc, accuracy, exact_match, f1, pass@, score, mcc    | maximize  | share            |
| anything else                                        | minimize  | unknown          |

The first line that fits holds. A word is what stands between marks that are no letters or digits.
"""

from __future__ import annotations

import re

from app.formats.imports.base import Direction, FoundTarget

_RULES: tuple[tuple[str, Direction, str], ...] = (
    ("bpb|bits_per_byte", "minimize", "bits_per_byte"),
    ("perplexity|ppl", "minimize", "perplexity"),
    ("loss|nll|cross_entropy", "minimize", "nats_per_token"),
    ("acc|accuracy|exact_match|f1|pass|score|mcc", "maximize", "share"),
)
_COMPILED: tuple[tuple[re.Pattern[str], Direction, str], ...] = tuple(
    (re.compile(rf"(?<![a-z0-9])(?:{words})(?![a-z])"), direction, unit) for words, direction, unit in _RULES
)

RULE_IN_WORDS = (
    "directions and units were guessed from the names of the targets: bpb in bits per byte, losses in nats per token "
    "and perplexities are minimised, accuracies and scores maximised, anything else minimised"
)


def guess_target(name: str) -> FoundTarget:
    """The target that a metric of this name most likely is."""
    lower = name.lower()
    for words, direction, unit in _COMPILED:
        if words.search(lower):
            return FoundTarget(name, unit, direction)
    return FoundTarget(name, "unknown", "minimize")
