"""The admin key that ``mixwright serve`` leaves in its data folder, for programs of the same user on this machine."""

from __future__ import annotations

from pathlib import Path

ADMIN_KEY_FILE = "admin.key"


def local_key(data_dir: str | Path) -> str | None:
    """The key in ``data_dir``; None when there is none that this user may read."""
    try:
        return (Path(data_dir) / ADMIN_KEY_FILE).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None
