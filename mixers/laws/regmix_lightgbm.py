"""RegMix's regression (arXiv 2407.01492, section 3.3): gradient-boosted trees on the weights, one model a target.

Settings of the published notebook: 1000 trees, learning rate 0.01, everything else LightGBM's default. The notebook
stops early on the evaluation rows, which leaks them into the fit; here nothing is stopped. Trees do not extrapolate
and have no gradient: they are minimised over candidates, many at a time, which tree_tables.py does faster.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass, field
from typing import Any, ClassVar

import lightgbm
import numpy as np
from jaxtyping import Float

from mixers.laws.base import FittedLaw, MixingLaw, Needs
from mixers.laws.json_record import Loader
from mixers.laws.noise import Noise, residual_std
from mixers.laws.tree_tables import WORTH_ROWS, TreeTables
from mixers.types import Observations, Prediction, Scale

# LightGBM's default: a leaf holds 20 rows, so fewer than 40 rows allow no split at all.
_MIN_LEAF_ROWS = 20


@dataclass(frozen=True)
class FittedLightGBM(FittedLaw):
    """One text model a target, in LightGBM's own format."""

    law: ClassVar[str] = "regmix_lightgbm"
    domain_names: tuple[str, ...]
    target_names: tuple[str, ...]
    models: tuple[str, ...]
    noise: Noise
    boosters: tuple[lightgbm.Booster, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        # Read back from the text rather than kept from training: those hold on to their histograms.
        object.__setattr__(self, "boosters", tuple(lightgbm.Booster(model_str=text) for text in self.models))

    def predict(self, p: Float[np.ndarray, "*batch k"], scale: Scale) -> Prediction:
        del scale  # fitted within one scale
        rows = p.reshape(-1, p.shape[-1])
        columns = [self._predict(j, rows) for j in range(len(self.boosters))]
        mean = np.stack(columns, axis=-1).reshape(*p.shape[:-1], len(self.boosters))
        return Prediction(mean, self.noise.std(p))

    def _predict(self, target: int, rows: np.ndarray) -> np.ndarray:
        if len(rows) >= WORTH_ROWS:
            return TreeTables.of(self.models[target]).predict(rows)
        return np.asarray(self.boosters[target].predict(rows, num_threads=1))

    def to_dict(self) -> dict[str, Any]:
        packed = [base64.b64encode(zlib.compress(text.encode())).decode() for text in self.models]
        return super().to_dict() | {"models": packed}

    @classmethod
    def from_dict(cls, data: dict[str, Any], load: Loader | None = None) -> FittedLaw:
        models = [zlib.decompress(base64.b64decode(text)).decode() for text in data["models"]]
        return super().from_dict(data | {"models": models}, load)


@dataclass(frozen=True)
class RegMixLightGBM(MixingLaw):
    """1000 small trees a target."""

    name: ClassVar[str] = "regmix_lightgbm"
    summary: ClassVar[str] = "gradient-boosted trees on the weights (RegMix)"
    needs: ClassVar[Needs] = Needs(lambda k: 2 * _MIN_LEAF_ROWS, "a tree splits no fewer")
    has_gradient: ClassVar[bool] = False
    trees: int = 1000
    learning_rate: float = 0.01
    seed: int = 42

    def fit(self, runs: Observations, rng: np.random.Generator) -> FittedLightGBM:
        del rng  # the published seed; with LightGBM's defaults nothing is drawn
        self.check_enough(runs)
        models = []
        residual = np.full(runs.losses.shape, np.nan)
        for j in range(len(runs.targets)):
            rows = ~np.isnan(runs.losses[:, j])
            booster = self._train(runs.p[rows], runs.losses[rows, j])
            residual[rows, j] = runs.losses[rows, j] - np.asarray(booster.predict(runs.p[rows], num_threads=1))
            models.append(booster.model_to_string())
        # Boosted trees fit their own rows far better than new ones; the calibration out of fold corrects the level.
        noise = Noise.of(runs.p, np.maximum(residual_std(residual, 0.0), 1e-9))
        return FittedLightGBM(runs.domains.names, runs.targets.names, tuple(models), noise)

    def _train(self, p: np.ndarray, y: np.ndarray) -> lightgbm.Booster:
        parameters = {
            "objective": "regression",
            "learning_rate": self.learning_rate,
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,  # the same trees as by columns, 10 % sooner
            "num_threads": 1,
            "verbosity": -1,
        }
        data = lightgbm.Dataset(p, y, free_raw_data=True)
        # Without keep_training_booster LightGBM writes the model as text and reads it back, a quarter of the time.
        return lightgbm.train(parameters, data, num_boost_round=self.trees, keep_training_booster=True)
