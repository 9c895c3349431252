"""A command line with placeholders, split into words as a shell would split it; no shell ever sees it."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass

from proxy_training.errors import ProxyError

_PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}")


@dataclass(frozen=True)
class CommandTemplate:
    """The words of a command; ``{name}`` stands for what is known only when it is started."""

    words: tuple[str, ...]

    @classmethod
    def parse(cls, text: str, placeholders: Mapping[str, str], needed: str) -> CommandTemplate:
        """The command in ``text``.

        Args:
            placeholders: the names that may stand in braces, and what each is, for people.
            needed: the one that must occur.

        Raises:
            ProxyError: saying what is wrong and which placeholders there are.
        """
        known = ", ".join(f"{{{name}}} ({meaning})" for name, meaning in placeholders.items())
        try:
            words = tuple(shlex.split(text))
        except ValueError as exc:
            raise ProxyError(f"the command {text!r} cannot be split into words: {exc}") from exc
        named = [name for word in words for name in _PLACEHOLDER.findall(word)]
        for name in named:
            if name not in placeholders:
                raise ProxyError(f"the command {text!r} has an unknown placeholder {{{name}}}; there are {known}")
        if needed not in named:
            raise ProxyError(f"the command {text!r} has no {{{needed}}}; it may hold {known}")
        if shutil.which(words[0]) is None:
            raise ProxyError(f"the program {words[0]!r} of the command {text!r} is not there or cannot be executed")
        return cls(words)

    def filled(self, values: Mapping[str, str]) -> list[str]:
        """The words with every placeholder replaced; values may hold anything, braces and spaces included."""
        return [_PLACEHOLDER.sub(lambda match: values[match[1]], word) for word in self.words]
