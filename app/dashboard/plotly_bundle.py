"""Plotly's JavaScript bundle, out of the installed wheel: nothing is loaded from another site.

Its address holds the version of the wheel, so that a browser may keep it for ever.
"""

from __future__ import annotations

import gzip
from functools import cache
from importlib import metadata, util
from pathlib import Path

_BUNDLE = Path("package_data", "plotly.min.js")


@cache
def bundle_path() -> Path | None:
    """Where the bundle lies; None when plotly is not installed or has none. Plotly itself is not imported."""
    spec = util.find_spec("plotly")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    return next((Path(folder) / _BUNDLE for folder in folders if (Path(folder) / _BUNDLE).is_file()), None)


@cache
def bundle_version() -> str:
    """The version of the installed wheel; ``none`` without one."""
    return metadata.version("plotly") if bundle_path() is not None else "none"


@cache
def bundle_gzip() -> bytes:
    """The bundle compressed, a third of its size; made once a process.

    Raises:
        FileNotFoundError: there is no bundle.
    """
    path = bundle_path()
    if path is None:
        raise FileNotFoundError("plotly is not installed")
    return gzip.compress(path.read_bytes(), compresslevel=6, mtime=0)
