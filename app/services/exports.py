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
from app.schemas.mixture_choice import MixtureChoice, WantedMixture
from app.services.mixture_choice import Chosen, choose, chosen_stages, chosen_weights, offer
from app.services.recommendations import find_recommendation, require_recommended

_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}

Stages = list[tuple[int, int, Mapping[str, float]]]


def list_formats() -> Page[ExportFormatRead]:
    """Every format with its options, on one page."""
    return Page(items=[_read_format(each) for each in EXPORTS.values()])


def export_recommendation(
    session: Session, recommendation_id: UUID, format_name: str, given: Mapping[str, str], wanted: WantedMixture | None
) -> ExportRead:
    """The files of a recommendation; the same mixture of it gives the same bytes.

    Args:
        wanted: the mixture; when None the adopted one, and the recommended one where there is none.
        given: the options as they were typed. Options of the trainer's binding hold where none is typed.

    Raises:
        NotFound: no such recommendation, or no such format.
        Conflict: the recommendation has no weights yet.
        InvalidRequest: an option is wrong, a path is missing, or the format cannot hold the mixture.
    """
    recommendation = find_recommendation(session, recommendation_id, whole=True)
    export_format = find_format(format_name)
    require_recommended(recommendation)
    fit = session.get_one(Fit, recommendation.fit_id)
    domain_set = session.get_one(DomainSet, fit.domain_set_id)
    study = session.get_one(Study, recommendation.study_id)
    chosen = _choose(study, recommendation, wanted)
    binding = session.get(Binding, (domain_set.id, export_format.trainer))
    try:
        options = with_defaults(export_format, _bound(export_format, binding) | read_options(export_format, given))
        stages = _stages(recommendation, chosen.mixture, int(options["target_tokens"]))
        provenance = _provenance(study, recommendation, chosen.mixture, domain_set)
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
        mixture=chosen.mixture,
        notes=[*_about(recommendation, chosen), *export.notes],
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


def _choose(study: Study, recommendation: Recommendation, wanted: WantedMixture | None) -> Chosen:
    if wanted is None and study.adopted_recommendation_id == recommendation.id and study.adopted_mixture is not None:
        return Chosen(study.adopted_mixture, f"it is adopted; {study.adopted_reason}")
    return choose(recommendation, wanted or MixtureChoice.RECOMMENDED.value)


def _about(recommendation: Recommendation, chosen: Chosen) -> list[str]:
    """What to know where the files do not hold the mixture that a reader would expect."""
    if chosen.mixture is MixtureChoice.BEST_MEASURED:
        return [f"The weights are those of the best measured mixture, not the recommended ones: {chosen.reason}."]
    offered, why = offer(recommendation)
    if offered is MixtureChoice.RECOMMENDED:
        return []
    return [f"The weights are the recommended ones, though the best measured mixture is offered: {why}."]


def _stages(recommendation: Recommendation, mixture: MixtureChoice, target_tokens: int) -> Stages:
    """The stages of the mixture; one over ``target_tokens`` where the length of the run was not known."""
    weights = chosen_weights(recommendation, mixture)
    stages = chosen_stages(recommendation.stages, weights if mixture is MixtureChoice.BEST_MEASURED else None)
    if stages:
        return [(stage["from_token"], stage["to_token"], stage["weights"]) for stage in stages]
    if target_tokens < 1:
        raise ExportError(
            "the recommendation does not know how many tokens the run has; give the option target_tokens, "
            "or set target_tokens in the constraints and recommend again"
        )
    return [(0, target_tokens, weights)]


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


def _provenance(
    study: Study, recommendation: Recommendation, mixture: MixtureChoice, domain_set: DomainSet
) -> dict[str, str]:
    return {
        "study": f"{study.name} ({study.id})",
        "recommendation": str(recommendation.id),
        "mixture": mixture.replace("_", " "),
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
