"""The environment of the processes that an agent starts."""

from __future__ import annotations

import os

# They have no need of it: the agent alone talks to the service.
_API_KEY = "MIXWRIGHT_API_KEY"


def child_environment(**variables: str) -> dict[str, str]:
    """This process's own variables without its API key, with these ``variables`` set."""
    return {name: value for name, value in os.environ.items() if name != _API_KEY} | variables
