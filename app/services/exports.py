"""Write a recommendation in the format of a trainer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from importlib.metadata import version
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app.errors import InvalidRequest, NotFound
from app.formats.exports import EXPORTS
from app.formats.exports.base import ExportDomain, ExportError, ExportFormat, Option
from app.formats.exports.planning import UnknownOption, kind_of, options_of, plan_of, read_options, with_defaults
from app.models import Binding, DomainSet, Fit, Recommendation, Study
from app.schemas.common import Page
from app.schemas.exports import ExportedFileRead, ExportFormatRead, ExportOptionRead, ExportRead
from app.services.recommendations import find_recommendation, require_recommended

_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}

Stages = list[tuple[int, int, Mapping[str, float]]]


def list_formats() -> Page[ExportFormatRead]:
    """Every format with its options, on one page."""
    return Page(items=[_read_format(each) for each in EXPORTS.values()])


def export_recommendation(
    session: Session, recommendation_id: UUID, format_name: str, given: Mapping[str, str]
) -> ExportRead:
    """The files of a recommendation; the same recommendation gives the same bytes.

    Args:
        given: the options as they were typed. Options of the trainer's binding hold where none is typed.

    Raises:
        NotFound: no such recommendation, or no such format.
        Conflict: the recommendation has no weights yet.
        InvalidRequest: an option is wrong, a path is missing, or the format cannot hold the mixture.
    """
    recommendation = find_recommendation(session, recommendation_id)
    export_format = find_format(format_name)
    require_recommended(recommendation)
    fit = session.get_one(Fit, recommendation.fit_id)
    domain_set = session.get_one(DomainSet, fit.domain_set_id)
    binding = session.get(Binding, (domain_set.id, export_format.trainer))
    try:
        options = with_defaults(export_format, _bound(export_format, binding) | read_options(export_format, given))
        stages = _stages(recommendation, int(options["target_tokens"]))
        provenance = _provenance(session.get_one(Study, recommendation.study_id), recommendation, domain_set)
        plan = plan_of(_domains(domain_set, binding), stages, provenance, options)
        export = export_format.render(plan)
    except UnknownOption as exc:
        message = f"format {export_format.name!r} does not take this option"
        raise InvalidRequest.of(exc.name, message, ", ".join(exc.accepted)) from exc
    except ExportError as exc:
        raise InvalidRequest(str(exc)) from exc
    return ExportRead(
        recommendation_id=recommendation.id,
        format=export_format.name,
        files=[ExportedFileRead(name=file.name, text=file.text) for file in export.files],
        notes=list(export.notes),
        epochs=plan.epochs(),
        dropped=list(plan.dropped),
        options=options,
    )


def find_format(name: str) -> ExportFormat:
    """The format of this name.

    Raises:
        NotFound: naming those that there are.
    """
    if name not in EXPORTS:
        raise NotFound(f"there is no export format {name!r}; formats: {', '.join(EXPORTS)}")
    return EXPORTS[name]


def _stages(recommendation: Recommendation, target_tokens: int) -> Stages:
    """The stages of the row; one over ``target_tokens`` where the length of the run was not known."""
    if recommendation.stages:
        return [(stage["from_token"], stage["to_token"], stage["weights"]) for stage in recommendation.stages]
    if target_tokens < 1:
        raise ExportError(
            "the recommendation does not know how many tokens the run has; give the option target_tokens, "
            "or set target_tokens in the constraints and recommend again"
        )
    return [(0, target_tokens, {row["domain"]: row["weight"] for row in recommendation.weights})]


def _domains(domain_set: DomainSet, binding: Binding | None) -> list[ExportDomain]:
    paths = {} if binding is None else binding.paths
    return [
        ExportDomain(
            domain["name"],
            tuple(paths.get(domain["name"], ())),
            domain.get("available_tokens"),
            domain.get("mean_document_tokens"),
        )
        for domain in domain_set.domains
    ]


def _bound(export_format: ExportFormat, binding: Binding | None) -> dict[str, Any]:
    """The options of the binding that this format takes; a trainer may have several formats."""
    taken = options_of(export_format)
    return {} if binding is None else {name: value for name, value in binding.options.items() if name in taken}


def _provenance(study: Study, recommendation: Recommendation, domain_set: DomainSet) -> dict[str, str]:
    return {
        "study": f"{study.name} ({study.id})",
        "recommendation": str(recommendation.id),
        "recommended at": recommendation.created_at.astimezone(UTC).isoformat(),
        "fit": str(recommendation.fit_id),
        "law": recommendation.law,
        "runs used (sha256)": recommendation.runs_hash,
        "domain set": f"version {domain_set.version}, sha256 {domain_set.content_hash}",
        "written by": f"mixwright {version('mixwright')}",
    }


def _read_format(export_format: ExportFormat) -> ExportFormatRead:
    return ExportFormatRead(
        name=export_format.name,
        title=export_format.title,
        trainer=export_format.trainer,
        options=[_read_option(name, option) for name, option in options_of(export_format).items()],
    )


def _read_option(name: str, option: Option) -> ExportOptionRead:
    return ExportOptionRead.model_validate(
        {"name": name, "type": _TYPES[kind_of(option)], "default": option.default, "about": option.about}
    )
