"""Proxy runs to train without a service: mixtures of a table or of a design, over the domains of a corpus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from app.formats.corpus_manifest import CorpusSummary
from app.formats.errors import FormatError
from app.formats.queries import read_queries
from app.mixture_options import MixtureOptions
from app.online.bodies import body_of, read_json
from app.proxy_options import SettingsOptions
from mixers.designs import DESIGNS
from mixers.errors import InvalidInput
from mixers.simplex import FeasibleSet
from proxy_training.spec import NamedSpec, ProxySettings, ProxySpec, Stage


def shared_settings(corpus: CorpusSummary, asked: SettingsOptions) -> ProxySettings:
    """The settings of all runs on ``corpus``.

    Raises:
        ClientError: naming the setting that is wrong. FormatError: the file is for another corpus.
    """
    told: Any = {} if asked.settings is None else read_json(asked.settings)
    if not isinstance(told, dict):
        raise FormatError(f"{asked.settings} must hold one JSON object")
    where = "the settings" if asked.settings is None else str(asked.settings)
    if told.setdefault("corpus_hash", corpus.corpus_hash) != corpus.corpus_hash:
        raise FormatError(
            f"{where}, corpus_hash: it is {told['corpus_hash']!r}, but {corpus.folder} has {corpus.corpus_hash!r}"
        )
    _overlay(told, {"train_tokens": asked.tokens, "measure_at_tokens": asked.measure_at})
    _overlay(told.setdefault("optimizer", {}), {"learning_rate": asked.learning_rate, "schedule": asked.schedule})
    model = told.setdefault("model", {})
    _overlay(model, {"preset": asked.model})
    if isinstance(model, dict):
        model.setdefault("vocab_size", corpus.vocab_size)
    if "train_tokens" not in told:
        raise InvalidInput("give --tokens: how many tokens each run is trained on")
    return body_of(ProxySettings, told, where)


def _overlay(told: Any, given: dict[str, Any]) -> None:
    if isinstance(told, dict):  # anything else is refused with the rest
        told.update({name: value for name, value in given.items() if value is not None})


def wanted_mixtures(corpus: CorpusSummary, asked: MixtureOptions, prefix: str) -> list[tuple[str, dict[str, float]]]:
    """(name, weights) of each mixture: the rows of a table, or draws of a design over the domains of the corpus.

    Raises:
        InvalidInput: neither is asked for, or both, or a design that is not there.
        FormatError: naming the place in the table.
    """
    if (asked.mixtures is None) == (asked.count is None):
        raise InvalidInput("give either --count, for mixtures of a design, or --mixtures, for those of a table")
    domains = corpus.domain_set
    if asked.mixtures is not None:
        rows = read_queries(asked.mixtures, domains.names)
        return [(run_id, _named(p, domains.names)) for run_id, p in zip(rows.run_ids, rows.p, strict=True)]
    assert asked.count is not None
    design = DESIGNS.get(asked.design)
    if design is None:
        raise InvalidInput(f"--design is {asked.design!r}; there are {', '.join(DESIGNS)}")
    rng = np.random.default_rng(asked.seed)
    proposals = design.suggest(asked.count, FeasibleSet.simplex(domains), None, None, rng)
    digits = len(str(asked.count - 1))
    return [(f"{prefix}-{n:0{digits}}", _named(made.p, domains.names)) for n, made in enumerate(proposals)]


def specs_of(
    mixtures: Sequence[tuple[str, dict[str, float]]], settings: ProxySettings, seeds: Sequence[int]
) -> list[NamedSpec]:
    """Each mixture with each seed; several seeds show in the names.

    Raises:
        ClientError: the weights are no mixture.
    """
    made = []
    for name, weights in mixtures:
        stage = Stage(from_token=0, to_token=settings.train_tokens, weights=weights)
        for seed in seeds:
            run_id = name if len(seeds) == 1 else f"{name}-seed{seed}"
            made.append(NamedSpec(run_id=run_id, spec=ProxySpec(settings=settings, stages=(stage,), seed=seed)))
    return made


def _named(p: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    return {name: float(weight) for name, weight in zip(names, p.tolist(), strict=True) if weight > 0}
