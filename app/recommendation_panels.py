"""The four panels of the figure of a recommendation. Colours are those of Okabe and Ito, which all eyes tell apart."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from app.loss_units import titled
from app.offline import TrustedLaw
from app.recommendation_rows import TargetRows, WeightRow, distinct_mixtures
from app.report_parts import titled_objective, unit_of_mean
from app.terminal import number
from mixers.agreement import objective_values
from mixers.baselines import BEST_MEASURED, RECOMMENDED
from mixers.laws.calibrated import Z90
from mixers.problem import Problem
from mixers.recommendation import Recommendation

_BLUE, _ORANGE, _VERMILION, _GREY, _DARK = "#0072B2", "#E69F00", "#D55E00", "#8a8a8a", "#333333"
_LONGEST_NAME = 36


def draw_weights(axes: Axes, rows: Sequence[WeightRow], rest: Sequence[WeightRow]) -> None:
    """Bars of the weights, the largest first, with prior, range of equally good weights, and bounds."""
    ordered = sorted(rows, key=lambda row: -row.weight)
    names = [_name(row.domain) for row in ordered]
    weight, prior = ([getattr(row, field) for row in ordered] for field in ("weight", "prior"))
    if rest:
        names.append(f"{len(rest)} others together")
        weight.append(sum(row.weight for row in rest))
        prior.append(sum(row.prior for row in rest))
    y = np.arange(len(names))
    axes.barh(y, weight, height=0.62, color=_BLUE, alpha=0.85, label="recommended")
    low, high = (np.array([getattr(row, field) for row in ordered]) for field in ("low", "high"))
    axes.hlines(y[: len(ordered)], low, high, color=_DARK, linewidth=1.4, label="equally good")
    axes.plot(prior, y, linestyle="none", marker="D", markersize=5, mfc="white", mec=_VERMILION, label="prior")
    view = 1.06 * max(*weight, *prior, *np.nan_to_num(high))
    _mark_bounds(axes, ordered, view)
    axes.set(xlim=(0, view), ylim=(len(names) - 0.4, -0.6), xlabel="weight", title="Weights")
    axes.set_yticks(y, names, fontsize=9 if len(names) <= 30 else 8)
    for i, value in enumerate(weight):  # a column of numbers at the right edge, clear of all marks
        axes.text(1.015, i, f"{value:.3f}", transform=axes.get_yaxis_transform(), va="center", fontsize=8, color=_DARK)
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)
    axes.legend(loc="lower right", bbox_to_anchor=(1.02, 1), ncols=4, fontsize=8, frameon=False, handlelength=1.2)


def _mark_bounds(axes: Axes, rows: Sequence[WeightRow], view: float) -> None:
    """Upright marks at the bounds that lie in view."""
    most = [(i, row.max_weight) for i, row in enumerate(rows) if row.max_weight < min(view, 1)]
    least = [(i, row.min_weight) for i, row in enumerate(rows) if row.min_weight > 0]
    marks = np.array([*most, *least], dtype=float).reshape(-1, 2)
    if len(marks):
        axes.vlines(
            marks[:, 1], marks[:, 0] - 0.42, marks[:, 0] + 0.42, color=_ORANGE, linewidth=2.2, zorder=3, label="bound"
        )


def draw_objective(axes: Axes, problem: Problem, best: Recommendation) -> None:
    """The predicted objective of every mixture with its 90 % interval."""
    labels = distinct_mixtures(best)
    for i, name in enumerate(labels):
        predicted = best.predictions[name]
        colour = _BLUE if name == RECOMMENDED else _ORANGE if name == BEST_MEASURED else _GREY
        axes.errorbar(
            predicted.objective_mean,
            i,
            xerr=Z90 * predicted.objective_std,
            fmt="o",
            color=colour,
            mfc="white" if name in best.outside else colour,
            capsize=3,
        )
    axes.axvline(best.predictions[RECOMMENDED].objective_mean, color=_BLUE, linewidth=0.8, linestyle=":")
    what = "weighted mean of the targets" if problem.worst is None else "worst excess"
    axes.set(title="Predicted objective, 90 % intervals", xlabel=f"{titled_objective(what, problem)}, lower is better")
    axes.set_yticks(range(len(labels)), [textwrap.fill(label, _LONGEST_NAME) for label in labels.values()])
    _finish_rows(axes, len(labels))


def draw_gains(axes: Axes, rows: TargetRows) -> None:
    """The gains over the natural and the best measured mixture, by target or family, with 90 % intervals."""
    compared = [name for name in ("natural", BEST_MEASURED) if name in rows.gains]
    y = np.arange(len(rows.names))
    for name, shift, colour, marker in zip(compared, (-0.16, 0.16), (_VERMILION, _ORANGE), "os", strict=False):
        gain = rows.gains[name]
        axes.errorbar(
            gain.mean,
            y + shift,
            xerr=Z90 * gain.std,
            fmt=marker,
            markersize=4.5,
            color=colour,
            elinewidth=1,
            label=f"over {name.replace('_', ' ')}",
        )
    axes.axvline(0, color=_DARK, linewidth=0.8)
    counted = f" ({rows.left_out} more not shown)" if rows.left_out else ""
    axes.set(
        title=f"Predicted gain by {rows.what}{counted}",
        xlabel="90 % interval of the gain (above 0: better)",
    )
    axes.set_yticks(y, [_name(name) for name in rows.names], fontsize=9 if len(y) <= 12 else 8)
    _finish_rows(axes, len(y))
    axes.set_ylim(top=-0.6 - 0.05 * (len(y) + 4))  # room for the legend, clear of all intervals
    axes.legend(loc="upper right", ncols=2, fontsize=8, frameon=False, borderpad=0)


def draw_fidelity(axes: Axes, law: TrustedLaw, problem: Problem) -> None:
    """The measured objective of every run against the prediction of a law that had not seen its mixture."""
    axes.set(
        title=f"Unseen runs (Spearman {number(law.report.objective.spearman, 3)})",
        xlabel=titled("predicted weighted mean of the targets", unit_of_mean(problem.targets, problem.weights)),
        ylabel="measured",
    )
    axes.grid()
    assert law.report.out_of_fold is not None  # a law that was judged has it
    measured, predicted = (
        objective_values(values, problem.weights) for values in (law.runs.losses, law.report.out_of_fold.mean)
    )
    both = np.isfinite(measured) & np.isfinite(predicted)
    if not both.any():
        axes.text(0.5, 0.5, "no run has all targets", transform=axes.transAxes, ha="center", color=_GREY)
        return
    group = law.runs.scale_groups
    size = 18 if both.sum() <= 300 else 8
    if len(np.unique(group[both])) == 1:
        axes.scatter(predicted[both], measured[both], s=size, color=_BLUE, alpha=0.6, linewidth=0)
    else:
        points = axes.scatter(predicted[both], measured[both], s=size, c=group[both], cmap="viridis", alpha=0.7, lw=0)
        bar = axes.figure.colorbar(points, ax=axes, pad=0.01, ticks=[])
        bar.set_label("scale, from the smallest to the largest", fontsize=8)
    ends = [min(measured[both].min(), predicted[both].min()), max(measured[both].max(), predicted[both].max())]
    axes.plot(ends, ends, color=_GREY, linewidth=0.9, linestyle="--", label="as predicted")
    axes.legend(fontsize=8, loc="lower right")


def _finish_rows(axes: Axes, count: int) -> None:
    axes.set_ylim(count - 0.5, -0.5)
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)


def _name(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
