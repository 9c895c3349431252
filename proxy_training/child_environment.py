"""The environment of the processes that an agent starts."""

from __future__ import annotations

import os

from proxy_training.agent_key import KEY_FILE_VARIABLE, KEY_VARIABLE

# They have no need of it: the agent alone talks to the service.
_KEYS = (KEY_VARIABLE, KEY_FILE_VARIABLE)


def child_environment(**variables: str) -> dict[str, str]:
    """This process's own variables without its API key, with these ``variables`` set."""
    return {name: value for name, value in os.environ.items() if name not in _KEYS} | variables
