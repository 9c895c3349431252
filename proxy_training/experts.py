"""Experts: one model a domain from a common start, whose parameter averages stand for models trained on mixtures.

A base model is trained on all domains for a while; then a copy of it goes on with each domain alone. With the
parameters E_j of the expert of domain j, the model

    E(p) = sum_j p_j E_j  =  base + sum_j p_j (E_j - base)

stands for one that goes on with the mixture p. m runs so foretell any number of mixtures (Na et al. 2024, "Scalable
data ablation approximations", section 3; MergeMix, arXiv 2601.17858, with a constant learning rate for the experts).
What it foretells is no measurement of a run on p: its error is of the second order in what the domains do to each
other, and nothing here may be stored as if a run had been trained on p.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float32

from proxy_training.corpus_read import Corpus
from proxy_training.errors import CheckpointError, ProxyError, SpecError
from proxy_training.spec import ProxySettings, ProxySpec, Record, Stage
from proxy_training.stack_size import preferred_stack
from proxy_training.train import StackTrainer
from proxy_training.whole_files import write_whole

OnStep = Callable[[int, int], None]  # tokens trained by all models together, and how many they will be


class ExpertPlan(Record):
    """What experts are trained on.

    ``settings.train_tokens`` counts both parts: the first ``base_tokens`` on ``base_weights``, the rest on one domain.
    The learning rate follows the schedule of the settings over all of them; the sources above hold it constant.
    """

    settings: ProxySettings
    base_weights: dict[str, float]
    base_tokens: int
    seed: int = 0


class _Header(Record):
    format: Literal["mixwright-experts-1"] = "mixwright-experts-1"
    plan: ExpertPlan
    domains: tuple[str, ...]
    branched_at_tokens: int


@dataclass(frozen=True)
class Experts:
    """The experts of m domains.

    Args:
        domains: the domain of every expert.
        branched_at_tokens: where the base ended: ``base_tokens`` in whole steps.
        parameters: (m, P), in fp32.
    """

    plan: ExpertPlan
    domains: tuple[str, ...]
    branched_at_tokens: int
    parameters: Float32[np.ndarray, "m P"]

    @property
    def trained_tokens(self) -> int:
        """What all of them cost together: the base once, then every domain's part."""
        return self.branched_at_tokens + len(self.domains) * (self.plan.settings.train_tokens - self.branched_at_tokens)

    def average(self, weights: Float[np.ndarray, "n m"]) -> Float32[np.ndarray, "n P"]:
        """The parameters that stand for n mixtures; rows of ``weights`` sum to 1."""
        return (weights @ self.parameters.astype(np.float64)).astype(np.float32)

    def save(self, path: Path) -> None:
        """Write one ``.npz`` without pickled objects, whole or not at all.

        Raises:
            OSError: the disk is full, or the place is not writable.
        """
        header = _Header(plan=self.plan, domains=self.domains, branched_at_tokens=self.branched_at_tokens)
        text = np.frombuffer(header.model_dump_json().encode(), dtype=np.uint8)
        write_whole(path, lambda file: np.savez(file, header=text, parameters=self.parameters))

    @classmethod
    def load(cls, path: Path) -> Experts:
        """Read what :meth:`save` wrote.

        Raises:
            CheckpointError: the file is not there, or is none of ours.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
                header = _Header.model_validate_json(saved["header"].tobytes())
                parameters = saved["parameters"]
        except FileNotFoundError as exc:
            raise CheckpointError(f"there are no experts at {path}; 'mixwright experts train' makes them") from exc
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as exc:
            raise CheckpointError(f"{path} holds no experts; 'mixwright experts train' makes a file of them") from exc
        return cls(header.plan, header.domains, header.branched_at_tokens, parameters)


def train_experts(corpus: Corpus, plan: ExpertPlan, device: torch.device, on_step: OnStep) -> Experts:
    """Train the base, then an expert for every domain of the corpus.

    Raises:
        SpecError: the plan does not fit the corpus.
        ProxyError: a model diverged.
    """
    domains = corpus.domains
    settings = plan.settings
    if not 0 <= plan.base_tokens < settings.train_tokens:
        raise SpecError(f"base_tokens {plan.base_tokens} must lie in 0 .. {settings.train_tokens - 1}")
    base = StackTrainer([_spec(plan, plan.base_weights)], corpus, device)
    branch = plan.base_tokens // base.step_tokens
    total = base.step_tokens * (branch + len(domains) * (base.steps - branch))
    for step in range(branch):
        _advance(base)
        on_step((step + 1) * base.step_tokens, total)
    done = branch * base.step_tokens
    stack = preferred_stack(settings, device)
    rows = []
    for first in range(0, len(domains), stack):
        trainer = _copies(corpus, plan, base, domains[first : first + stack], device)
        while trainer.step < trainer.steps:
            _advance(trainer)
            done += trainer.step_tokens * len(trainer.members)
            on_step(done, total)
        rows.append(trainer.flat.detach().cpu().numpy())
    return Experts(plan, domains, branch * base.step_tokens, np.concatenate(rows))


def _spec(plan: ExpertPlan, weights: Mapping[str, float]) -> ProxySpec:
    stage = Stage(from_token=0, to_token=plan.settings.train_tokens, weights=dict(weights))
    return ProxySpec(settings=plan.settings, stages=(stage,), seed=plan.seed)


def _copies(
    corpus: Corpus, plan: ExpertPlan, base: StackTrainer, domains: Sequence[str], device: torch.device
) -> StackTrainer:
    """Copies of ``base`` as one stack, each of which goes on with one of ``domains`` alone."""
    trainer = StackTrainer([_spec(plan, plan.base_weights)] * len(domains), corpus, device)
    rows = (base.flat.detach(), base.optimizer.first, base.optimizer.second)
    trainer.restore(*(row.repeat(len(domains), 1) for row in rows), step=base.step)
    for member, domain in enumerate(domains):
        trainer.change_weights(member, {domain: 1.0})
    return trainer


def _advance(trainer: StackTrainer) -> None:
    _, diverged = trainer.advance()
    if diverged:
        raise ProxyError(
            f"a model diverged after {trainer.train_tokens} tokens; a lower learning rate may help "
            f"(it is {trainer.settings.optimizer.learning_rate:g})"
        )
