"""A command of the user's own that measures a trained model beside its losses.

    my_eval --model {model} --out {out}

``{model}`` becomes a folder in the Llama layout of Hugging Face, ``{out}`` the file that the command must write:
``{"accuracy": 0.31, "exact_match": {"value": 0.12, "stderr": 0.01}}``. ``{run_id}`` and ``{train_tokens}`` may be
used, too. No shell takes part. A measurement without a number is none: the command must end with code 0 and name at
least one metric.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from proxy_training.child_environment import child_environment
from proxy_training.command_process import CommandProcess
from proxy_training.command_template import CommandTemplate
from proxy_training.errors import ProxyError
from proxy_training.evaluate import MeasurementStopped
from proxy_training.llama_export import TrainedProxy, save_llama
from proxy_training.spec import Measured

PLACEHOLDERS = {
    "model": "the folder of the model",
    "out": "the file that it writes its metrics to",
    "run_id": "the name of the run",
    "train_tokens": "the tokens that the model was trained on",
}
# Far more than small models need; ``timeout 60 my_eval ...`` sets a limit of one's own.
_LONGEST_SECONDS = 3600.0
_LOOK_EVERY_SECONDS = 0.1
_SHOWN_CHARACTERS = 300


class MeasurementFailed(ProxyError):
    """The command gave no metrics for a model."""


@dataclass(frozen=True)
class MetricsCommand:
    """A checked command line."""

    template: CommandTemplate

    @classmethod
    def parse(cls, text: str) -> MetricsCommand:
        """The command in ``text``, split as a shell would.

        Raises:
            ProxyError: it cannot be split, lacks ``{model}`` or ``{out}``, or names a program that is not there.
        """
        template = CommandTemplate.parse(text, PLACEHOLDERS, needed="out")
        if not any("{model}" in word for word in template.words):
            raise ProxyError(f"the command {text!r} has no {{model}}, {PLACEHOLDERS['model']} that it is to measure")
        return cls(template)

    def measure(
        self, proxy: TrainedProxy, losses: Collection[str], stopping: Callable[[], bool]
    ) -> dict[str, Measured]:
        """What the command says of ``proxy``.

        Args:
            losses: names that no metric may have, because a loss of the run has it.

        Raises:
            MeasurementFailed: no model could be written for it, it failed, took an hour, or wrote no metrics.
            MeasurementStopped: ``stopping`` became true meanwhile.
        """
        try:
            with tempfile.TemporaryDirectory(prefix="mixwright-metrics-") as name:
                scratch = Path(name)
                save_llama(proxy, scratch / "model")
                _run(self._filled(proxy, scratch), stopping)
                return _read_metrics(scratch / "metrics.json", losses)
        except OSError as exc:
            raise MeasurementFailed(f"the model could not be given to the metrics command: {exc}") from exc

    def _filled(self, proxy: TrainedProxy, scratch: Path) -> list[str]:
        return self.template.filled(
            {
                "model": str(scratch / "model"),
                "out": str(scratch / "metrics.json"),
                "run_id": proxy.run_id,
                "train_tokens": str(proxy.train_tokens),
            }
        )


def _run(words: list[str], stopping: Callable[[], bool]) -> None:
    until = time.monotonic() + _LONGEST_SECONDS
    with CommandProcess(words, child_environment()) as command:
        while command.end is None:
            command.read(_LOOK_EVERY_SECONDS)  # what it says matters only when it fails
            if stopping() and command.end is None:
                raise MeasurementStopped
            if time.monotonic() > until:
                raise MeasurementFailed(f"the metrics command was ended after {_LONGEST_SECONDS:g} seconds")
    if command.end.code != 0:
        raise MeasurementFailed(f"the metrics command {command.end.how}: {command.last_errors}")


def _read_metrics(path: Path, losses: Collection[str]) -> dict[str, Measured]:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError as exc:
        raise MeasurementFailed("the metrics command wrote no file {out}") from exc
    except ValueError as exc:
        raise MeasurementFailed(f"the metrics command wrote no JSON to {{out}}: {exc}") from exc
    if not isinstance(document, dict) or not document:
        raise MeasurementFailed('the metrics command must write an object with a metric or more, such as {"f1": 0.3}')
    for name in document:
        if not name or name in losses:
            raise MeasurementFailed(f"the metrics command calls a metric {name!r}; " + _better_name(name))
    return {name: _measured(name, value) for name, value in document.items()}


def _better_name(name: str) -> str:
    return "that is a loss of the run, so give it another name" if name else "give it a name"


def _measured(name: str, value: Any) -> Measured:
    given = value if isinstance(value, dict) else {"value": value}
    try:
        if given.keys() <= {"value", "stderr"} and not any(isinstance(number, bool) for number in given.values()):
            return Measured.model_validate(given)
    except ValidationError:
        pass
    shown = json.dumps(value)[:_SHOWN_CHARACTERS]
    raise MeasurementFailed(
        f"the metrics command wrote {shown} for {name!r}; "
        'a finite number or {"value": ..., "stderr": ...} would be accepted'
    )
