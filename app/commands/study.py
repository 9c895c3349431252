"""``mixwright study``: studies, their domains, targets and paths, and the weights that they have adopted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.command_options import AsJson, with_records
from app.connection import ONLINE, ConnectionOptions, Limit, StudyName, connected

_Trainer = Annotated[str, typer.Argument(metavar="TRAINER", help="Trainer of an export format, such as megatron.")]
_Name = Annotated[str | None, typer.Option(help="Name of the study.")]
_Description = Annotated[str | None, typer.Option(help="What the study is for.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    group = typer.Typer(help="Studies: one mixture problem each.", no_args_is_help=True)
    for command in (create, list_studies, show, change, domains, bindings, bind, unbind, adopt, weights):
        name = {"list_studies": "list", "change": "set"}.get(command.__name__, command.__name__)
        group.command(name)(with_records(command))
    app.add_typer(group, name="study", rich_help_panel=ONLINE)


def create(
    source: Annotated[
        Path, typer.Argument(metavar="FILE.json|FOLDER", help="The body of the study, or a swarm folder.")
    ],
    connection: ConnectionOptions,
    name: _Name = None,
    description: _Description = None,
    runs: Annotated[bool, typer.Option("--runs", help="Also import the runs of the folder.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a study from a JSON file, or from the lists of a swarm folder."""
    from app.calls.errors import ClientError
    from app.online import output, study_sources, study_tables
    from app.schemas.imports import StudyImport

    body = study_sources.study_body(source, name, description)
    if not runs:
        with connected(connection) as client:
            output.give(client.create_study(body), as_json, study_tables.show_study)
        return
    if not source.is_dir():
        raise ClientError("--runs imports the runs of a swarm folder; import others with 'mixwright runs import'")
    files = study_sources.swarm_files(source)
    settings = StudyImport(format="swarm-folder", name=body.name, description=body.description)
    with connected(connection) as client:
        output.give(client.import_study(settings, files), as_json, study_tables.show_import)


def list_studies(
    connection: ConnectionOptions,
    name: Annotated[str | None, typer.Option(help="Only those with this in their name.")] = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List studies, newest first."""
    from app.online import output, study_tables

    with connected(connection) as client:
        found = output.first(client.all_studies(name), limit)
    nothing = "There is no study yet; make one with 'mixwright study create'."
    output.give_list(found, as_json, study_tables.STUDY_COLUMNS, study_tables.study_row, nothing)


def show(study: StudyName, connection: ConnectionOptions, as_json: AsJson = False) -> None:
    """Show a study: domains, targets, constraints, runs by state and budget."""
    from app.online import lookups, output, study_tables

    with connected(connection) as client:
        found = lookups.find_study(client, study)
    output.give(found, as_json, study_tables.show_study)


def change(
    study: StudyName,
    connection: ConnectionOptions,
    name: _Name = None,
    description: _Description = None,
    constraints: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="Constraints in place of the present ones.")
    ] = None,
    objective: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="The objective in place of the present one.")
    ] = None,
    budget_flops: Annotated[float | None, typer.Option(help="FLOPs that its proxy runs may cost in all.")] = None,
    budget_gpu_hours: Annotated[
        float | None, typer.Option(help="GPU-hours that they may cost in all; runs on CPUs count apart.")
    ] = None,
    no_budget: Annotated[bool, typer.Option("--no-budget", help="Take the limits away first.")] = False,
    as_json: AsJson = False,
) -> None:
    """Change a study; what is not named stays as it is."""
    from app.calls.errors import ClientError
    from app.online import lookups, output, study_tables
    from app.online.bodies import body_of, read_json
    from app.schemas.studies import StudyPatch

    limits = {"flops": budget_flops, "gpu_hours": budget_gpu_hours}
    fields: dict[str, object] = {"name": name, "description": description}
    fields |= {"constraints": constraints and read_json(constraints), "objective": objective and read_json(objective)}
    with connected(connection) as client:
        found = lookups.find_study(client, study)
        if no_budget or any(limit is not None for limit in limits.values()):
            kept = {} if no_budget else {limit: getattr(found.budget, limit) for limit in limits}
            fields["budget"] = kept | {limit: value for limit, value in limits.items() if value is not None}
        given = {field: value for field, value in fields.items() if value is not None}
        if not given:
            raise ClientError("nothing is to be changed; --help lists what can be")
        changed = client.change_study(found.id, body_of(StudyPatch, given, "the change"))
    output.give(changed, as_json, study_tables.show_study)


def domains(
    study: StudyName,
    connection: ConnectionOptions,
    source: Annotated[
        Path | None, typer.Argument(metavar="[DOMAINS.csv|FILE.json]", help="Makes a new version of the domains.")
    ] = None,
    rename: Annotated[
        list[str] | None,
        typer.Option(metavar="OLD=NEW", help="A domain whose name alone changes; its runs stay valid. Repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the versions of the domains, or make a new one from a file."""
    from app.calls.errors import ClientError
    from app.online import lookups, output, study_sources, study_tables
    from app.option_texts import pairs
    from app.schemas.studies import DomainSetCreate

    if source is None:
        if rename:
            raise ClientError("--rename needs the file of the new domains")
        with connected(connection) as client:
            listed = client.list_domain_sets(lookups.find_study(client, study).id, limit=1000)
        versions = output.Listing(items=listed.items, more=listed.next_cursor is not None)
        output.give_list(versions, as_json, study_tables.VERSION_COLUMNS, study_tables.version_row, "None.")
        return
    body = DomainSetCreate(domains=study_sources.read_domain_file(source), renames=pairs("--rename", rename))
    with connected(connection) as client:
        made = client.create_domain_set(lookups.find_study(client, study).id, body)
    output.give(made, as_json, study_tables.show_version)


def bindings(
    study: StudyName,
    connection: ConnectionOptions,
    trainer: Annotated[str | None, typer.Argument(metavar="[TRAINER]", help="Shows the paths for this one.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the trainers that a study has paths for, or show those of one."""
    from app.online import lookups, output, study_tables

    with connected(connection) as client:
        version = lookups.find_study(client, study).domain_set.id
        if trainer is not None:
            output.give(client.get_binding(version, trainer), as_json, study_tables.show_binding)
            return
        listed = client.list_bindings(version, limit=1000)
    found = output.Listing(items=listed.items, more=listed.next_cursor is not None)
    nothing = "No trainer is bound yet; 'mixwright study bind' says where one finds the domains."
    output.give_list(found, as_json, study_tables.BINDING_COLUMNS, study_tables.binding_row, nothing)


def bind(
    study: StudyName,
    trainer: _Trainer,
    source: Annotated[
        Path,
        typer.Argument(
            metavar="DOMAINS.csv|FILE.json",
            help="Columns domain and path (several paths separated by '|'), or the body with paths and options.",
        ),
    ],
    connection: ConnectionOptions,
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Default of an export option; repeatable.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say where a trainer finds the domains; what was said before is replaced."""
    from app.online import lookups, output, study_sources, study_tables
    from app.online.bodies import body_of, read_body, scalars
    from app.option_texts import pairs
    from app.schemas.bindings import BindingPut

    options = scalars(pairs("--option", option))
    if source.suffix == ".json":
        told = read_body(BindingPut, source)
        body = body_of(BindingPut, {"paths": told.paths, "options": told.options | options}, "--option")
    else:
        body = body_of(BindingPut, {"paths": study_sources.domain_paths(source), "options": options}, str(source))
    with connected(connection) as client:
        bound = client.put_binding(lookups.find_study(client, study).domain_set.id, trainer, body)
    output.give(bound, as_json, study_tables.show_binding)


def unbind(study: StudyName, trainer: _Trainer, connection: ConnectionOptions, as_json: AsJson = False) -> None:
    """Forget where a trainer finds the domains."""
    from app.online import lookups, output
    from app.terminal import say

    with connected(connection) as client:
        found = lookups.find_study(client, study)
        binding = client.get_binding(found.domain_set.id, trainer)
        client.delete_binding(found.domain_set.id, trainer)
    sentence = f"Study {found.name} has no paths for {trainer} any more."
    output.give(binding, as_json, lambda console, _: say(console, sentence))


def adopt(
    recommendation: Annotated[str, typer.Argument(metavar="RECOMMENDATION", help="Its id, or a part of it.")],
    connection: ConnectionOptions,
    mixture: Annotated[
        str,
        typer.Option(
            metavar="offered|recommended|best_measured",
            help="Which of its mixtures; 'offered' is the one that the recommendation itself offers.",
        ),
    ] = "offered",
    as_json: AsJson = False,
) -> None:
    """Adopt a recommendation: training pipelines read the mixture that it offers, or the one you name, from now on."""
    from app.online import lookups, output, study_tables
    from app.online.bodies import body_of
    from app.schemas.mixture_choice import AdoptionCreate

    wanted = body_of(AdoptionCreate, {"mixture": mixture}, "--mixture").mixture
    with connected(connection) as client:
        adopted = client.adopt(lookups.find_recommendation(client, recommendation).id, wanted)
    output.give(adopted, as_json, study_tables.show_weights)


def weights(study: StudyName, connection: ConnectionOptions, as_json: AsJson = False) -> None:
    """Show the weights that the study has adopted, as training pipelines read them."""
    from app.online import lookups, output, study_tables

    with connected(connection) as client:
        adopted = client.get_weights(lookups.find_study(client, study).id)
    output.give(adopted, as_json, study_tables.show_weights)
