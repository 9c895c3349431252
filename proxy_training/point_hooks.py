"""What is done with a trained model at every measured point beside its losses: measured by a command, kept.

A stack calls its hook with every proxy that was measured there and is healthy. Every engine that trains with our own
loop gets the hook from its options by :func:`hook_of`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from proxy_training.errors import CorpusError, ProxyError
from proxy_training.llama_export import TrainedProxy, check_exportable, save_llama
from proxy_training.metrics_command import MetricsCommand
from proxy_training.spec import Measured, ModelSpec

log = logging.getLogger(__name__)


class PointHook(Protocol):
    """Sees every measured proxy of a stack."""

    def check(self, model: ModelSpec) -> None:
        """Refuse models that cannot be handed on, before they are trained.

        Raises:
            SpecError: saying which would do.
        """
        ...

    def at_point(
        self, proxy: TrainedProxy, losses: Collection[str], ended: bool, stopping: Callable[[], bool]
    ) -> dict[str, Measured]:
        """Metrics of ``proxy``, which has the named losses.

        Raises:
            MeasurementFailed: the run has failed for want of a metric.
            MeasurementStopped: ``stopping`` became true before all was measured.
        """
        ...


@dataclass(frozen=True)
class ModelHook:
    """Runs the metrics command at every point, and saves the model of a run that has ended as a folder of its name."""

    command: MetricsCommand | None
    keep_in: Path | None

    def check(self, model: ModelSpec) -> None:
        check_exportable(model)

    def at_point(
        self, proxy: TrainedProxy, losses: Collection[str], ended: bool, stopping: Callable[[], bool]
    ) -> dict[str, Measured]:
        metrics = {} if self.command is None else self.command.measure(proxy, losses, stopping)
        if ended and self.keep_in is not None:
            _keep(proxy, self.keep_in)
        return metrics


def hook_of(metrics_command: str | None, keep_models: Path | None) -> PointHook | None:
    """The hook that an engine's options ask for; None when they ask for nothing.

    Raises:
        ProxyError: the metrics command cannot be run, or models cannot be kept there.
    """
    if metrics_command is None and keep_models is None:
        return None
    command = None if metrics_command is None else MetricsCommand.parse(metrics_command)
    if keep_models is not None:
        try:
            keep_models.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise ProxyError(f"models cannot be kept in {keep_models}: {exc.strerror or exc}") from exc
    return ModelHook(command, keep_models)


def _keep(proxy: TrainedProxy, folder: Path) -> None:
    """Save the model; a full disk costs the model, not the result."""
    try:
        if "/" in proxy.run_id or proxy.run_id in ("", ".", ".."):  # the name of a run comes from elsewhere
            raise OSError("its name cannot be that of a folder")
        save_llama(proxy, folder / proxy.run_id)
    except (OSError, CorpusError) as error:
        log.warning(
            "The model of run %s could not be kept in %s: %s", proxy.run_id, folder, error,
            extra={"event": "model_not_kept", "run_id": proxy.run_id},
        )  # fmt: skip
