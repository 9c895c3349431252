"""``--plot``: one figure of a recommendation, as PNG, SVG or PDF. Importing this loads matplotlib.

Left the weights, beside them what they are expected to bring: the predicted objective of every mixture, the gains by
target or family, and how well the law predicted runs that it had not seen.
"""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from app import atomic_files
from app.formats.errors import FormatError
from app.formats.swarm_folder import Swarm
from app.offline import TrustedLaw
from app.offline_wishes import Question
from app.recommendation_panels import draw_fidelity, draw_gains, draw_objective, draw_weights
from app.recommendation_rows import split_rows, target_rows, weight_rows
from mixers.baselines import BEST_MEASURED
from mixers.recommendation import Recommendation

ENDINGS = (".png", ".svg", ".pdf")
# Inches: the figure, where it is wide, its head, the frame of a panel, the fidelity, and a row of domains or marks.
_WIDTH, _WIDE, _HEAD, _FRAME, _FIDELITY = 13.5, 15.5, 0.7, 1.2, 4.4
_ROW, _WIDE_ROW, _MARK = 0.24, 0.33, 0.34
# Domains up to which their panel needs no height of its own.
_FEW = 24
_STYLE: dict[Any, Any] = {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "axes.edgecolor": "#888888",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "font.size": 9,
    "grid.color": "#e3e3e3",
    "savefig.facecolor": "white",
    "svg.hashsalt": "mixwright",  # the same recommendation is the same file
    "text.parse_math": False,  # a $ in the name of a domain is no formula
}


def check_plot(path: Path) -> None:
    """Refuse a file that could not be written, before the work that it is for.

    Raises:
        FormatError: an ending that names no format. OSError: a place that is not writable.
    """
    if path.suffix.lower() not in ENDINGS:
        raise FormatError(f"--plot is {path}; its name must end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}")
    atomic_files.check_writable(path)


def write_plot(path: Path, swarm: Swarm, law: TrustedLaw, question: Question, best: Recommendation) -> None:
    """Draw the recommendation; the file appears whole or not at all."""
    kind = path.suffix.lower().removeprefix(".")
    # Building its list of fonts, which happens once on a machine, is no news to the user.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    metadata = {"Date": None} if kind == "svg" else {"CreationDate": None} if kind == "pdf" else {}
    content = io.BytesIO()
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # of a script that the font lacks: shown as a box
        figure = _figure(swarm, law, question, best)
        figure.savefig(content, format=kind, dpi=120, metadata=metadata)
    atomic_files.write_bytes(path, content.getvalue())


def _figure(swarm: Swarm, law: TrustedLaw, question: Question, best: Recommendation) -> Figure:
    problem = question.problem
    seen, rest = split_rows(weight_rows(problem, best))
    targets = target_rows(law.fitted, problem, best).most_moving()
    rows = len(seen) + bool(rest)
    objective, gains = (_MARK * count + _FRAME for count in (len(best.mixtures), len(targets.names)))
    figure = Figure(layout="constrained")
    if rows <= _FEW:  # two by two
        upper, lower = max(_WIDE_ROW * rows + _FRAME, objective), max(_FIDELITY, gains)
        grid = figure.add_gridspec(2, 2, height_ratios=(upper, lower), width_ratios=(1, 1), wspace=0.05, hspace=0.05)
        weights_at, objective_at, fidelity_at, gains_at = grid[0, 0], grid[0, 1], grid[1, 0], grid[1, 1]
        width, height = _WIDTH, upper + lower
    else:  # the weights from top to bottom
        left, right = figure.add_gridspec(1, 2, width_ratios=(1.05, 1), wspace=0.05)
        parts = right.subgridspec(3, 1, height_ratios=(objective, gains, _FIDELITY), hspace=0.05)
        weights_at, objective_at, gains_at, fidelity_at = left, parts[0], parts[1], parts[2]
        width, height = _WIDE, max(_ROW * rows + _FRAME, objective + gains + _FIDELITY)
    figure.set_size_inches(width, height + _HEAD)
    figure.suptitle(_title(swarm, law, best), x=0.01, ha="left", fontsize=12)
    draw_weights(figure.add_subplot(weights_at), seen, rest)
    draw_objective(figure.add_subplot(objective_at), problem, best)
    draw_gains(figure.add_subplot(gains_at), targets)
    draw_fidelity(figure.add_subplot(fidelity_at), law, problem)
    return figure


def _title(swarm: Swarm, law: TrustedLaw, best: Recommendation) -> str:
    runs = len(law.runs)
    line = f"Recommended mixture from {runs} runs of {swarm.folder.resolve().name}, law {law.report.law}"
    if best.offered == BEST_MEASURED:
        line += "\nThe gain over the best measured mixture is within the noise: that mixture is offered instead"
    return line
