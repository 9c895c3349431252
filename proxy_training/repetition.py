"""How much of a domain a proxy run may see, so that it repeats text as often as the run that it stands for.

Notation: D_P and D_T tokens of the proxy and of the target run, a and A tokens of a domain in the corpus and in the
target run, p_j the domain's weight. The target run goes p_j D_T / A times through the domain. A proxy that draws from
a fraction f = D_P A / (D_T a) of the corpus's tokens goes p_j D_P / (f a) times through them: the same number, for
every p_j. "Repetition Mismatch" (arXiv 2606.07597) subsamples each domain by the ratio of the two repetitions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from proxy_training.errors import SpecError
from proxy_training.spec import TargetRun


@dataclass(frozen=True)
class DomainUse:
    """A domain of a proxy run: the ``windows`` that the corpus has of it, and how many sequences the run asks of it."""

    windows: int
    asked_sequences: float


def matched_windows(
    target: TargetRun, uses: Mapping[str, DomainUse], run_sequences: int, context: int
) -> dict[str, int]:
    """How many windows to keep of every domain: D_P A / D_T tokens, as near as whole windows come.

    The epochs of the kept windows then differ from those of the target run by at most half a window in as many, and by
    the less than one sequence that a schedule may be off. At least one window is kept; a domain of which the target run
    would see less than that in proportion is repeated less often. All are kept where the corpus has too few, as long as
    neither run repeats any of them.

    Args:
        run_sequences: of the whole proxy run, each of ``context`` tokens, as a window is.

    Raises:
        SpecError: the corpus has so little of a domain that the proxy would repeat it more often than the target run
            does; or the target run is not known to have it.
    """
    if unknown := [name for name in uses if name not in target.available_tokens]:
        raise SpecError(
            f"match_repetition does not say how many tokens the target run has of {', '.join(map(repr, unknown))}; "
            f"it names {', '.join(target.available_tokens)}"
        )
    per_token = run_sequences / target.train_tokens
    return {name: _kept(name, use, per_token * target.available_tokens[name], context) for name, use in uses.items()}


def _kept(name: str, use: DomainUse, wanted: float, context: int) -> int:
    if round(wanted) <= use.windows:
        return max(1, round(wanted))
    if use.asked_sequences <= use.windows:
        return use.windows
    enough = math.ceil(min(wanted, use.asked_sequences)) * context + 1
    raise SpecError(
        f"the run would go {use.asked_sequences / use.windows:.3g} times through domain {name!r} and its target run "
        f"{use.asked_sequences / wanted:.3g} times: match_repetition needs {enough} training tokens of it, "
        f"the corpus has {use.windows * context + 1}"
    )
