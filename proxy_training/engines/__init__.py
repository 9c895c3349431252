"""Where proxy runs execute. A new engine is one file here and one line in ``ENGINES``."""

from __future__ import annotations

from proxy_training.engines.base import Engine
from proxy_training.engines.command import CommandEngine
from proxy_training.engines.in_process import InProcessEngine
from proxy_training.engines.ray_engine import RayEngine
from proxy_training.engines.subprocess_slots import SubprocessEngine

ENGINES: dict[str, type[Engine]] = {
    engine.name: engine for engine in (InProcessEngine, SubprocessEngine, CommandEngine, RayEngine)
}
