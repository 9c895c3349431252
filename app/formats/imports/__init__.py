"""Formats that runs can be taken from: one file a format, one line in :data:`IMPORTS`."""

from __future__ import annotations

from typing import Any

from app.formats.imports.base import ImportFormat
from app.formats.imports.jsonl import Jsonl
from app.formats.imports.lm_eval import LmEval
from app.formats.imports.mlflow import Mlflow
from app.formats.imports.olmix_csv import OlmixCsv
from app.formats.imports.regmix_csv import RegMixCsv
from app.formats.imports.swarm_folder import SwarmFolder
from app.formats.imports.wandb import Wandb

IMPORTS: dict[str, ImportFormat[Any]] = {
    each.name: each for each in (SwarmFolder(), RegMixCsv(), OlmixCsv(), Jsonl(), Wandb(), Mlflow(), LmEval())
}
