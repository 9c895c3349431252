"""Which law of a comparison is used, and why; the same for the command line and the service."""

from __future__ import annotations

from mixers.fidelity import Comparison
from mixers.law_report import LawReport

AUTO = "auto"


def trusted_report(comparison: Comparison, asked: str = AUTO) -> tuple[LawReport, str]:
    """The report of the law that was asked for, and why it is used.

    ``auto`` chooses for each target on unseen runs, so it is judged like every law and says what it costs against the
    best of them. Where it was not compared or could not be fitted, it is the law that ranks unseen mixtures best.
    """
    known = {report.law: report for report in comparison.reports}
    report = known.get(asked)
    if report is None or report.skipped is not None:
        return known[comparison.choice], comparison.reason
    if asked != AUTO:
        return report, "it was asked for"
    return report, f"it is chosen for each target on unseen runs; {comparison.price_of(report)}"


def distrust(report: LawReport) -> str | None:
    """A sentence where the law is no better than the mean of the runs, so that nobody should act on it."""
    if not report.objective.r2 <= 0:
        return None
    return (
        f"{report.law} predicts unseen runs no better than their mean (R2 {report.objective.r2:.3f} out of fold): "
        "do not act on its numbers"
    )
