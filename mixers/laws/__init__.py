"""The mixing laws. ``LAWS`` is the one registry: a new law is a new file and a line here.

A law that does not know N or D is fitted within each scale by :class:`~mixers.laws.per_scale.PerScale`. Laws that are
made of the others come last.
"""

from __future__ import annotations

from typing import Any

from mixers.errors import InvalidInput
from mixers.laws.additive_scaling import AdditiveScaling, FittedAdditiveScaling
from mixers.laws.auto import Auto
from mixers.laws.autoscale import AutoScale, FittedAutoScale
from mixers.laws.base import FittedLaw, Form, MixingLaw, Needs
from mixers.laws.bimix import BiMix, FittedBiMix
from mixers.laws.bimix_multi import BiMixMulti, FittedBiMixMulti
from mixers.laws.box_cox import BoxCox, FittedBoxCox
from mixers.laws.calibrated import CalibratedLaw
from mixers.laws.capacity import Capacity, FittedCapacity
from mixers.laws.combination import Combination, FittedCombination
from mixers.laws.data_mixing_law import DataMixingLaw, FittedDataMixingLaw
from mixers.laws.effective_data import EffectiveData, FittedEffectiveData
from mixers.laws.gaussian_process import FittedGaussianProcess, GaussianProcess
from mixers.laws.implicit_domains import FittedImplicitDomains, ImplicitDomains
from mixers.laws.joint_scaling import FittedJointScaling, JointScaling
from mixers.laws.log_linear import FittedLogLinear, LogLinear
from mixers.laws.mean import FittedMean, Mean
from mixers.laws.nested_scaling import FittedNestedScaling, NestedScaling
from mixers.laws.per_scale import FittedPerScale, PerScale
from mixers.laws.regmix_lightgbm import FittedLightGBM, RegMixLightGBM
from mixers.laws.regmix_linear import FittedLinear, RegMixLinear
from mixers.laws.stack import Stack

_LAWS: tuple[tuple[MixingLaw, type[FittedLaw]], ...] = (
    (Mean(), FittedMean),
    (RegMixLinear(), FittedLinear),
    (RegMixLightGBM(), FittedLightGBM),
    (LogLinear(), FittedLogLinear),
    (DataMixingLaw(), FittedDataMixingLaw),
    (ImplicitDomains(), FittedImplicitDomains),
    (NestedScaling(), FittedNestedScaling),
    (BiMix(), FittedBiMix),
    (BiMixMulti(), FittedBiMixMulti),
    (BoxCox(), FittedBoxCox),
    (AutoScale(), FittedAutoScale),
    (EffectiveData(), FittedEffectiveData),
    (AdditiveScaling(), FittedAdditiveScaling),
    (JointScaling(), FittedJointScaling),
    (Capacity(), FittedCapacity),
    (GaussianProcess(), FittedGaussianProcess),
)

LAWS: dict[str, MixingLaw] = {
    law.name: law if law.knows_params and law.knows_tokens else PerScale(law) for law, _ in _LAWS
}
_MEMBERS = tuple(law for law in LAWS.values() if law.combined)
LAWS |= {law.name: law for law in (Stack(_MEMBERS), Auto(_MEMBERS))}
_FITTED: dict[str, type[FittedLaw]] = {fitted.law: fitted for _, fitted in _LAWS}
_WRAPPERS: dict[str, type[FittedPerScale] | type[CalibratedLaw] | type[FittedCombination]] = {
    wrapper.law: wrapper for wrapper in (FittedPerScale, CalibratedLaw, FittedCombination)
}


def find_law(name: str) -> MixingLaw:
    """The law of that name, or an error that lists the known ones."""
    if name not in LAWS:
        raise InvalidInput(f"there is no law {name!r}; known are {', '.join(LAWS)}")
    return LAWS[name]


def fitted_from_dict(data: dict[str, Any]) -> FittedLaw:
    """The inverse of ``FittedLaw.to_dict``."""
    kind = data.get("kind")
    if kind in _WRAPPERS:
        return _WRAPPERS[kind].from_dict(data, fitted_from_dict)
    if kind in _FITTED:
        return _FITTED[kind].from_dict(data)
    raise InvalidInput(f"a fitted law is of the unknown kind {kind!r}; known are {', '.join([*_FITTED, *_WRAPPERS])}")


__all__ = [
    "LAWS",
    "CalibratedLaw",
    "Combination",
    "FittedLaw",
    "Form",
    "MixingLaw",
    "Needs",
    "find_law",
    "fitted_from_dict",
]
