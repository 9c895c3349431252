"""Where proxy runs execute. A new engine is one file here and one line in ``ENGINES``."""

from __future__ import annotations

from proxy_training.engines.base import Engine
from proxy_training.engines.in_process import InProcessEngine

ENGINES: dict[str, type[Engine]] = {engine.name: engine for engine in (InProcessEngine,)}
