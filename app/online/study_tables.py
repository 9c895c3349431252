"""Studies and what belongs to them, as people read them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from app.online.output import count, mixture, table, when
from app.online.run_tables import about_waiting
from app.schemas.bindings import BindingRead
from app.schemas.budgets import BudgetRead
from app.schemas.imports import ImportReport
from app.schemas.studies import DomainIn, DomainSetUse, StudyRead, TargetIn
from app.schemas.targets import TargetRead
from app.schemas.weights import WeightsRead
from app.terminal import number, say

STUDY_COLUMNS = ("id", "name", ">domains", ">targets", ">runs", "created")
VERSION_COLUMNS = (">version", "id", ">domains", ">measured runs", "enters fits", "created")
BINDING_COLUMNS = ("trainer", ">domains", "options")
TARGET_COLUMNS = ("target", "unit", "direction", ">weight", "family", "definition")
_MOST_PATHS = 3


def study_row(study: StudyRead) -> Sequence[str]:
    """A study in a list."""
    domains, runs = len(study.domain_set.domains), sum(study.run_counts.values())
    return (str(study.id), study.name, str(domains), str(len(study.targets)), str(runs), when(study.created_at))


def version_row(version: DomainSetUse) -> Sequence[str]:
    """A version of the domains in a list."""
    counts = "yes" if version.enters_fits else "no"
    cells = (str(version.version), str(version.id), str(len(version.domains)), str(version.measured_runs), counts)
    return (*cells, when(version.created_at))


def binding_row(binding: BindingRead) -> Sequence[str]:
    """Where a trainer finds the domains, in a list."""
    options = ", ".join(f"{name}={value}" for name, value in binding.options.items())
    return (binding.trainer, str(len(binding.paths)), options or "-")


def target_row(target: TargetIn | TargetRead) -> Sequence[str]:
    """A target in a list."""
    cells = (target.name, target.unit, target.direction, f"{target.weight:g}", target.family or "-")
    return (*cells, target.definition or "-")


def show_study(console: Console, study: StudyRead) -> None:
    """Everything of a study."""
    say(console, f"Study {study.name} ({study.id}), made {when(study.created_at)} UTC.")
    if study.description:
        say(console, study.description)
    console.print(domain_table(study.domain_set.domains, f"Domains, version {study.domain_set.version}"))
    console.print(table(TARGET_COLUMNS, map(target_row, study.targets), "Targets"))
    runs = ", ".join(f"{number} {state}" for state, number in study.run_counts.items() if number)
    say(console, f"Runs: {runs or 'none'}.")
    for sentence in about_waiting(study.runs_without_agent):
        say(console, sentence)
    if study.stranded_runs:
        say(console, f"{study.stranded_runs} measured runs are of other domains and enter no fit.")
    if asked := study.constraints.model_dump(exclude_defaults=True):
        say(console, f"Constraints: {_fields(asked)}.")
    if asked := study.objective.model_dump(exclude_defaults=True):
        say(console, f"Objective: {_fields(asked)}.")
    for sentence in _budget(study.budget):
        say(console, sentence)
    say(console, _adopted(study))


def _adopted(study: StudyRead) -> str:
    if study.adopted_mixture is None:
        return "No recommendation is adopted."
    what = f"the {study.adopted_mixture.replace('_', ' ')} mixture of recommendation {study.adopted_recommendation_id}"
    return f"Adopted: {what}; {study.adopted_reason}."


def domain_table(domains: Sequence[DomainIn], title: str) -> Table:
    """The domains of a version."""
    rows = (
        (domain.name, number(domain.prior), count(domain.available_tokens), domain.group or "-") for domain in domains
    )
    return table(("domain", ">prior", ">available tokens", "group"), rows, title)


def show_version(console: Console, version: DomainSetUse) -> None:
    """One version of the domains."""
    console.print(domain_table(version.domains, f"Domains, version {version.version} ({version.id})"))
    for old, new in version.renames.items():
        say(console, f"{new} was {old} before.")


def show_binding(console: Console, binding: BindingRead) -> None:
    """Where a trainer finds the domains."""
    rows = ((name, _paths(paths)) for name, paths in binding.paths.items())
    console.print(table(("domain", "paths"), rows, f"Paths for {binding.trainer}"))
    for name, value in binding.options.items():
        say(console, f"{name} = {value}")


def show_target(console: Console, target: TargetRead) -> None:
    """One target."""
    console.print(table(TARGET_COLUMNS, [target_row(target)]))


def show_weights(console: Console, adopted: WeightsRead) -> None:
    """The weights that training pipelines read."""
    say(console, f"Recommendation {adopted.recommendation_id}, adopted {when(adopted.adopted_at)} UTC.")
    say(console, f"Its {adopted.mixture.replace('_', ' ')} mixture: {adopted.reason}.")
    ordered = sorted(adopted.weights.items(), key=lambda pair: -pair[1])
    console.print(table(("domain", ">weight"), ((name, f"{weight:.6f}") for name, weight in ordered)))
    if len(adopted.stages) > 1:
        for stage in adopted.stages:
            reach = f"token {count(stage.from_token)} to {count(stage.to_token)}"
            say(console, f"From {reach}: {mixture(dict(stage.weights))}.")


def show_import(console: Console, report: ImportReport) -> None:
    """What became of the runs of a source."""
    what = "Dry run: nothing was stored." if report.dry_run else f"Import {report.id} into study {report.study_id}."
    say(console, what)
    say(
        console,
        f"{report.source}: {report.runs_read} runs read, {report.taken} taken, {report.updated} updated, "
        f"{report.already_there} there already, {sum(each.count for each in report.skipped)} left out.",
    )
    for each in report.skipped:
        say(console, f"Left out, {each.count} ({each.reason}): {each.detail} - {_ids(each.first_ids, each.count)}")
    if report.differs.count:
        ids = _ids(report.differs.first_ids, report.differs.count)
        say(console, f"Stored before with other values and left alone, {report.differs.count} (--update): {ids}")
    if report.duplicates.count:
        say(console, f"Told twice: {_ids(report.duplicates.first_ids, report.duplicates.count)}")
    if report.renormalised.count:
        worst = report.renormalised
        say(
            console,
            f"Weights of {worst.count} runs did not sum to 1; the worst is {worst.worst_sum} ({worst.worst_id}).",
        )
    for label, names in (("domains", report.unknown_domains), ("targets", report.unknown_targets)):
        if names:
            say(console, f"Unknown {label} of the source: {', '.join(names)}.")
    for target, missing in report.missing_metrics.items():
        say(console, f"{missing} runs have no value of {target}.")
    for each in report.suspicious:
        say(console, f"Look at {each.target} ({each.kind}): {_ids(each.first_ids, each.count)}")
    for sentence in (*report.hints, *report.notes):
        say(console, f"Note: {sentence}.")


def _ids(first: Sequence[str], in_all: int) -> str:
    return ", ".join(first) + (", ..." if in_all > len(first) else "")


def _paths(paths: Sequence[str]) -> str:
    return "\n".join([*paths[:_MOST_PATHS], *([f"and {len(paths) - _MOST_PATHS} more"] * (len(paths) > _MOST_PATHS))])


def _fields(asked: dict[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in asked.items())


def _budget(budget: BudgetRead) -> list[str]:
    sentences = []
    if budget.flops is not None or budget.spent_flops:
        of = f" of {budget.flops:.4g}" if budget.flops is not None else ""
        sentences.append(f"FLOPs: {budget.spent_flops:.4g}{of} spent, {budget.reserved_flops:.4g} reserved.")
    if budget.gpu_hours is not None or budget.spent_gpu_hours:
        of = f" of {budget.gpu_hours:.4g}" if budget.gpu_hours is not None else ""
        sentences.append(
            f"GPU-hours: {budget.spent_gpu_hours:.4g}{of} spent, {budget.reserved_gpu_hours:.4g} reserved."
        )
    if budget.spent_cpu_hours:
        sentences.append(f"CPU-hours: {budget.spent_cpu_hours:.4g} spent, {budget.reserved_cpu_hours:.4g} reserved.")
    if budget.exhausted_on_cpu:
        sentences.append("The budget is exhausted: no run is handed out any more.")
    elif budget.exhausted:
        sentences.append("The GPU-hours are exhausted: runs are handed out to agents without a GPU alone.")
    return sentences
