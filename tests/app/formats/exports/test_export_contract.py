"""What holds for every format of exported mixtures: a row of the table is all that a new format needs here."""

from __future__ import annotations

import ast
import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import yaml

from app.formats.exports import EXPORTS
from app.formats.exports.base import Export, ExportDomain, ExportedFile, ExportError, Plan, PlanStage

Stages = list[dict[str, float]]

WEIGHTS = [[0.1 + 0.2, 1 / 3, 0.2 - 1e-9 / 7, 0.1, 1 / 15 + 1e-9 / 7], [1 / 7, 2 / 7, 0.3, 19 / 70]]
ENDS = [2**33, 2**34]
AVAILABLE = [10**9, 7 * 10**8, 3 * 10**12, None, 12345]
NASTY = ['web "q" \\', "it's: {a} %s #1", "two\nlines\r# none", "ünï 😀 \u2028\x85", "=yes"]
PLAIN = ["null", "1e5", "off", "-", "café"]
PROVENANCE = {"study": "June: \n- [a, 'b'] # \"c\" coding: latin-1", "law": "log-linear", "runs_hash": "sha256:0f"}


@dataclass(frozen=True)
class Row:
    """How the contract reads a format.

    Args:
        read: the weights of each stage, by the name or the path that the file calls a domain by.
        by_path: it calls domains by their first path.
        staged: options for several stages. names: domain names that the format can hold.
        paths: turns a number into a path that the format can hold.
    """

    read: Callable[[Export], Stages]
    by_path: bool = False
    staged: dict[str, Any] = field(default_factory=dict)
    names: list[str] = field(default_factory=lambda: NASTY)
    paths: Callable[[int], str] = lambda number: f'/data/it\'s "{number}": {{a}} #é'


def documents(export: Export, suffix: str) -> list[Any]:
    """The parsed files of this kind, in order."""
    load = {".json": json.loads, ".yaml": yaml.safe_load, ".yml": yaml.safe_load}[suffix]
    return [load(file.text) for file in export.files if file.name.endswith(suffix) and "provenance" not in file.name]


def python_constant(file: ExportedFile, name: str) -> Any:
    """A literal that the module assigns, read without running it."""
    for node in ast.parse(file.text).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    raise AssertionError(f"{file.name} assigns no {name}")


def read_megatron(export: Export) -> Stages:
    lists = [document["train"] for document in documents(export, ".json")]
    return [dict(zip(each[1::2], map(float, each[::2]), strict=True)) for each in lists]


def read_olmo_core(export: Export) -> Stages:
    return [
        {source["source_name"]: source["target_ratio"] for source in document["sources"]}
        for document in documents(export, ".yaml")
    ]


def read_olmix(export: Export) -> Stages:
    return [{name: leaf["weight"] for name, leaf in document["mix"].items()} for document in documents(export, ".yaml")]


def read_levanter(export: Export) -> Stages:
    weights = documents(export, ".yaml")[0]["data"]["train_weights"]
    return [weights] if isinstance(weights, dict) else [stage for _, stage in weights]


def read_maxtext(export: Export) -> Stages:
    return [{name: source["weight"] for name, source in document.items()} for document in documents(export, ".json")]


def read_mosaic(export: Export) -> Stages:
    config = documents(export, ".yaml")[0]
    schedule = config.get("callbacks", {}).get("curriculum_learning", {}).get("schedule", [])
    loaders = [config["train_loader"]["dataset"], *(entry["dataset"] for entry in schedule)]
    return [{name: stream["proportion"] for name, stream in loader["streams"].items()} for loader in loaders]


def read_nanotron(export: Export) -> Stages:
    datasets = [stage["data"]["dataset"] for stage in documents(export, ".yaml")[0]["data_stages"]]
    return [dict(zip(each["dataset_folder"], each["dataset_weights"], strict=True)) for each in datasets]


def read_torchtitan(export: Export) -> Stages:
    return [stage["weights"] for stage in python_constant(export.files[0], "STAGES")]


def read_hf_interleave(export: Export) -> Stages:
    module, numbers = export.files
    in_module, in_json = python_constant(module, "STAGES"), json.loads(numbers.text)["stages"]
    assert in_module == in_json
    return [stage["probabilities"] for stage in in_json]


def read_llama_factory(export: Export) -> Stages:
    return [
        dict(zip(each["dataset"].split(","), map(float, each["interleave_probs"].split(",")), strict=True))
        for each in documents(export, ".yaml")
    ]


def read_lingua(export: Export) -> Stages:
    return [document["data"]["sources"] for document in documents(export, ".yaml")]


def read_gpt_neox(export: Export) -> Stages:
    return [
        dict(zip(each["train-data-paths"], each["train-data-weights"], strict=True))
        for each in documents(export, ".yml")
    ]


def read_energon(export: Export) -> Stages:
    return [
        {entry["path"]: entry["weight"] for entry in document["splits"]["train"]["blend"]}
        for document in documents(export, ".yaml")
    ]


def read_doremi(export: Export) -> Stages:
    return [document["train_domain_weights"] for document in documents(export, ".json")]


def read_plain_json(export: Export) -> Stages:
    return [stage["weights"] for stage in documents(export, ".json")[0]["stages"]]


def read_plain_csv(export: Export) -> Stages:
    # The comments come first: a later line that begins with # may be the rest of a quoted name.
    text = re.sub(r"\A(#.*\n)*", "", export.files[0].text)
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    stages: dict[str, dict[str, float]] = {row["stage"]: {} for row in rows}
    for row in rows:
        stages[row["stage"]][row["domain"]] = float(row["weight"])
    return list(stages.values())


STEPS = {"sequence_length": 4096, "batch_size": 2048}

FORMATS: dict[str, Row] = {
    "megatron": Row(read_megatron, by_path=True, staged={"sequence_length": 4096, "global_batch_size": 2048}),
    "olmo-core": Row(read_olmo_core),
    # olmix nests names at colons.
    "olmix": Row(read_olmix, names=[name.replace(":", ";") for name in NASTY]),
    "levanter": Row(read_levanter, staged=STEPS),
    "maxtext": Row(read_maxtext),
    "mosaic": Row(read_mosaic),
    "nanotron": Row(read_nanotron, by_path=True, staged={"tokens_per_step": 2**23}),
    "torchtitan": Row(read_torchtitan),
    "hf-interleave": Row(read_hf_interleave),
    "llama-factory": Row(read_llama_factory, by_path=True),
    "lingua": Row(read_lingua, by_path=True),
    "gpt-neox": Row(read_gpt_neox, by_path=True),
    "energon": Row(read_energon, by_path=True),
    "doremi": Row(read_doremi),
    "json": Row(read_plain_json),
    "csv": Row(read_plain_csv),
}

each_format = pytest.mark.parametrize("name", list(EXPORTS))


def plan_of(row: Row, stages: int, names: list[str] | None = None) -> Plan:
    """The last domain has no weight in the second stage; one domain's tokens are unknown."""
    names = row.names if names is None else names
    domains = tuple(
        ExportDomain(name, (row.paths(number),), tokens)
        for number, (name, tokens) in enumerate(zip(names, AVAILABLE, strict=True))
    )
    starts = [0, *ENDS]
    parts = [
        PlanStage(starts[s], ENDS[s], dict(zip(names, WEIGHTS[s], strict=s == 0)))  # zip cuts off the last name
        for s in range(stages)
    ]
    dropped = ("law reports",) if stages == 1 else ("law reports", names[-1])
    return Plan(domains, tuple(parts), dropped, PROVENANCE, row.staged)


def expected(row: Row, plan: Plan) -> Stages:
    called = {domain.name: domain.paths[0] if row.by_path else domain.name for domain in plan.domains}
    return [{called[name]: weight for name, weight in stage.weights.items()} for stage in plan.stages]


def epochs_in(export: Export) -> list[dict[str, float | None]]:
    """The implied epochs that each file states, in its comments or under a key; files that state none are left out."""
    found = []
    for file in export.files:
        if file.name.endswith(".json"):
            document = json.loads(file.text)
            document = document.get("_mixwright", document)
            if isinstance(domains := document.get("domains"), dict):
                found.append({name: domain["epochs"] for name, domain in domains.items()})
            elif isinstance(epochs := document.get("epochs"), dict):
                found.append(epochs)
            continue
        lines = re.findall(r'^#   (".*"): (\S+)', file.text, re.MULTILINE)
        found.append({json.loads(name): None if "unknown" in told else float(told) for name, told in lines})
    return found


def test_every_format_has_a_row() -> None:
    assert set(FORMATS) == set(EXPORTS)


@each_format
@pytest.mark.parametrize("stages", [1, 2])
def test_the_weights_are_read_back_to_the_last_bit(name: str, stages: int) -> None:
    """The domain that the second stage does not use is in its file neither with a weight of 0 nor at all."""
    row = FORMATS[name]
    plan = plan_of(row, stages)
    assert row.read(EXPORTS[name].render(plan)) == expected(row, plan)


@each_format
def test_words_that_yaml_takes_for_values_stay_names(name: str) -> None:
    row = replace(FORMATS[name], paths=lambda number: PLAIN[number])
    plan = plan_of(row, 1, PLAIN)
    assert row.read(EXPORTS[name].render(plan)) == expected(row, plan)


@each_format
def test_what_was_left_out_is_named(name: str) -> None:
    notes = EXPORTS[name].render(plan_of(FORMATS[name], 1)).notes
    assert any("law reports" in note and "weight is 0" in note for note in notes)


@each_format
def test_the_provenance_travels_with_the_weights(name: str) -> None:
    export = EXPORTS[name].render(plan_of(FORMATS[name], 2))
    weights = [file for file in export.files if not file.name.endswith(".provenance.json")]
    beside = {file.name.removesuffix(".provenance.json"): file.text for file in export.files}
    for file in weights:
        for value in PROVENANCE.values():
            escaped = json.dumps(value)[1:-1]
            texts = (file.text, beside[file.name])
            assert any(escaped in text or value.replace("\n", "\\n") in text for text in texts), file.name


@each_format
def test_a_provenance_with_line_breaks_adds_nothing_but_comments(name: str) -> None:
    row = FORMATS[name]
    plan = replace(plan_of(row, 1), provenance={"study": 'x\nmix: {}\r\u2028"""\nimport os'})
    assert row.read(EXPORTS[name].render(plan)) == expected(row, plan)


@each_format
def test_the_implied_epochs_of_every_domain_are_in_each_file(name: str) -> None:
    """p_1 T_1 / N + p_2 T_2 / N, and unknown where N is."""
    row = FORMATS[name]
    plan = plan_of(row, 2)
    stated = epochs_in(EXPORTS[name].render(plan))
    assert stated
    last = [*WEIGHTS[1], 0.0]
    for epochs in stated:
        assert list(epochs) == row.names
        for told, first, second, available in zip(epochs.values(), WEIGHTS[0], last, AVAILABLE, strict=True):
            if available is None:
                assert told is None
            else:
                assert told == pytest.approx((first * 2**33 + second * 2**33) / available, rel=1e-14)


@each_format
def test_the_three_misunderstandings_are_answered(name: str) -> None:
    notes = EXPORTS[name].render(plan_of(FORMATS[name], 1)).notes
    for beginning in ("Weight unit: ", "When a source runs out: ", "Resuming with changed weights: "):
        (answer,) = [note.removeprefix(beginning) for note in notes if note.startswith(beginning)]
        assert len(answer) > 20


@each_format
def test_the_same_plan_gives_the_same_bytes(name: str) -> None:
    row = FORMATS[name]
    first, second = (EXPORTS[name].render(plan_of(row, 2)) for _ in range(2))
    assert [(file.name, file.text.encode()) for file in first.files] == [
        (file.name, file.text.encode()) for file in second.files
    ]
    assert first.notes == second.notes


@each_format
def test_file_names_differ_and_need_no_quoting(name: str) -> None:
    names = [file.name for file in EXPORTS[name].render(plan_of(FORMATS[name], 2)).files]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z0-9_.-]*", each) for each in names)


@each_format
def test_a_plan_without_paths_is_refused_by_formats_that_name_paths(name: str) -> None:
    """And by no other."""
    plan = plan_of(FORMATS[name], 1)
    unbound = replace(plan, domains=tuple(replace(domain, paths=()) for domain in plan.domains))
    if not EXPORTS[name].trainer:
        EXPORTS[name].render(unbound)
        return
    with pytest.raises(ExportError, match=f"(?s)no path is bound .*bindings/{EXPORTS[name].trainer}"):
        EXPORTS[name].render(unbound)


@each_format
@pytest.mark.parametrize("wrong", [0.0, -0.25, float("nan"), float("inf")])
def test_a_weight_that_no_trainer_takes_is_refused(name: str, wrong: float) -> None:
    plan = plan_of(FORMATS[name], 1)
    weights = {**plan.stages[0].weights, FORMATS[name].names[0]: wrong}
    with pytest.raises(ExportError, match="the weight of"):
        EXPORTS[name].render(replace(plan, stages=(replace(plan.stages[0], weights=weights),)))


@each_format
def test_options_say_what_they_mean_and_stand_at_their_defaults(name: str) -> None:
    form = EXPORTS[name]
    assert all(option.about and option.default is not None for option in form.options.values())
    plan = plan_of(FORMATS[name], 1)
    spelt_out = replace(plan, options={key: option.default for key, option in form.options.items()})
    assert form.render(spelt_out) == form.render(replace(plan, options={}))
