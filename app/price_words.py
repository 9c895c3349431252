"""Shadow prices in words: what easing an active constraint is worth.

one more billion tokens of science_docs (epoch cap): -0.0031 in the objective
"""

from __future__ import annotations

from mixers.constraints import ConstraintKind
from mixers.shadow_prices import REPETITION, TARGET_LIMIT, ShadowPrice
from mixers.types import Domains

# A price holds for small changes: tokens are counted in a unit that is no more than what the domain has.
_TOKEN_UNITS = ((1e9, "billion"), (1e6, "million"), (1e3, "thousand"))
_POINT = "one percentage point"


def price_words(price: ShadowPrice, domains: Domains) -> str:
    """One sentence without its end."""
    step, value = _step_and_value(price, domains)
    return f"{step}: {-value:+.2g} in the objective"


def _step_and_value(price: ShadowPrice, domains: Domains) -> tuple[str, float]:
    if price.unit == "billion tokens":
        available = float(domains.available_tokens[domains.names.index(price.subject)])
        size, word = next((unit for unit in _TOKEN_UNITS if available >= unit[0]), _TOKEN_UNITS[-1])
        held = "seen more than once" if price.kind == REPETITION else "at its epoch cap"
        return f"one more {word} tokens of {price.subject} ({held})", price.value * size / 1e9
    return _eased(price), price.value


def _eased(price: ShadowPrice) -> str:
    if price.kind == TARGET_LIMIT:
        return f"letting {price.subject.replace(chr(39), '')} be 0.01 worse"
    if price.kind == ConstraintKind.TOTAL_CHANGE:
        return f"letting {_POINT} more of the mixture change hands (at most {price.limit:.4g})"
    what = f"group {price.subject}" if price.kind.endswith("group") else price.subject
    way = "less" if price.at_least else "more"
    return f"{_POINT} {way} of {what} ({_bound(price)})"


def _bound(price: ShadowPrice) -> str:
    side = "at least" if price.at_least else "at most"
    if price.kind == ConstraintKind.FROZEN:
        return f"frozen at {price.limit:.4g}"
    if price.kind == ConstraintKind.MAX_CHANGE:
        return f"{side} {price.limit:.4g} by the bound on its change"
    return f"{side} {price.limit:.4g}"
