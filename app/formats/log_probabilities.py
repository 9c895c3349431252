"""What models of single domains say of validation text, as ``mixwright experts log-probs`` writes it: an ``.npz``.

``domains`` and ``targets`` are names; ``log_probs`` (n, k) are natural logarithms of the probabilities of whole
sequences, ``tokens`` (n,) their lengths, ``target`` (n,) the place of their target; ``available_tokens`` (k,) counts
the training text of each domain. Nothing in it is pickled.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from app.formats.errors import FormatError
from mixers.mixmin import DomainModels
from mixers.types import Domains

FORMAT = "mixwright-log-probabilities-1"


def read_log_probabilities(path: Path) -> tuple[DomainModels, Domains]:
    """The judgements of the file, and its domains with their tokens.

    Raises:
        FormatError: the file is not there, or is no such file.
        InvalidInput: its numbers cannot be log-probabilities.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            found = {name: saved[name] for name in saved.files}
    except FileNotFoundError as exc:
        raise FormatError(f"there is no file {path}; 'mixwright experts log-probs' makes one") from exc
    except OSError as exc:
        raise FormatError(f"{path} cannot be read: {exc.strerror or exc}") from exc
    except (EOFError, ValueError, AttributeError, zipfile.BadZipFile) as exc:
        # numpy's own words would advise to unpickle the file.
        raise FormatError(
            f"{path} is no file of 'mixwright experts log-probs': it is no whole .npz archive of plain arrays"
        ) from exc
    if str(found.get("format")) != FORMAT:
        raise FormatError(f"{path} is no file of 'mixwright experts log-probs': it has no format {FORMAT!r}")
    try:
        names = tuple(str(name) for name in found["domains"])
        models = DomainModels(
            names,
            tuple(str(name) for name in found["targets"]),
            found["log_probs"].astype(float),
            found["tokens"].astype(float),
            found["target"].astype(np.int64),
        )
        available = found["available_tokens"].astype(float)
    except KeyError as exc:
        raise FormatError(f"{path} lacks {exc}; write it again with 'mixwright experts log-probs'") from exc
    return models, Domains(names, available / available.sum(), available)
