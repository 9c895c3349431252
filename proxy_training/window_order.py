"""In which order a run goes through the text of one domain.

The text is cut into windows of ``context`` tokens that do not overlap; the label of a window's last token is the next
window's first. An epoch is a permutation of the windows that depends on seed, domain name and epoch only. Where only
some windows are kept, they are the first ones of one more permutation of all: the same in every run with the same
seed, and fewer kept windows are a part of more.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from proxy_training.permutation import Permutation


class WindowOrder:
    """The endless order of the windows of one domain: epoch after epoch, each in its own permutation.

    Args:
        name: of the domain.
        windows: that the domain has; at least 1.
        kept: how many of them are used, 1 .. ``windows``.
        context: tokens of a window.
    """

    def __init__(self, name: str, windows: int, kept: int, context: int, seed: int) -> None:
        self.kept = kept
        self._name = name
        self._context = context
        self._seed = seed
        self._chosen = Permutation(windows, f"{seed}/kept/{name}") if kept < windows else None

    def starts(self, nth: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """The first token of the ``nth`` sequences of this domain; n rises."""
        epochs, places = np.divmod(nth, self.kept)
        windows = np.empty_like(nth)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            windows[here] = Permutation(self.kept, f"{self._seed}/{epoch}/{self._name}")(places[here])
        if self._chosen is not None:
            windows = self._chosen(windows)
        return windows * self._context
