"""What stands behind the losses of a run."""

from __future__ import annotations

from enum import StrEnum


class RunFidelity(StrEnum):
    """A law is fitted to runs of one fidelity: the losses of two differ by more than the mixtures do."""

    TRAINED = "trained"  # a model was trained on the mixture
    MERGED = "merged"  # parameters of models trained on a domain each were averaged with the weights of the mixture


ABOUT_MERGED = (
    "the losses are those of averages of models that were trained on a domain each (fidelity merged), not of models "
    "trained on the mixtures; verify the weights with trained runs"
)
