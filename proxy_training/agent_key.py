"""Where an agent finds its API key. A key is never an option: options are seen by everyone who may list processes."""

from __future__ import annotations

import os
from pathlib import Path

from proxy_training.errors import ProxyError

KEY_VARIABLE, KEY_FILE_VARIABLE = "MIXWRIGHT_API_KEY", "MIXWRIGHT_KEY_FILE"


def find_key(key_file: Path | None) -> str | None:
    """The key of this file, else that of the environment, else that of the file which the environment names.

    Raises:
        ProxyError: the file cannot be read, or does not hold one key and nothing else.
    """
    if key_file is None:
        if key := os.environ.get(KEY_VARIABLE, "").strip():
            return key
        if not (named := os.environ.get(KEY_FILE_VARIABLE)):
            return None
        key_file = Path(named)
    try:
        key = key_file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as exc:
        raise ProxyError(f"the file of the key, {key_file}, cannot be read: {exc.strerror or exc}") from exc
    if not key or len(key.split()) > 1 or not key.isascii():
        raise ProxyError(f"{key_file} holds no key; it must hold one API key and nothing else")
    return key
