"""JSON sources: native lines, exports of W&B, results of lm-evaluation-harness."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest

from app.formats.errors import FormatError
from app.formats.imports.trackers import TrackerFailed, Trackers
from mixers.errors import InvalidInput
from tests.app.formats.imports.readings import read, reasons, runs

LINE = {
    "run_id": "r1",
    "mixture": {"web": 0.7, "code": 0.3},
    "params": 14e6,
    "tokens": 3e9,
    "seed": 5,
    "losses": {"news": 2.0},
    "metrics": {"arc/acc": {"value": 0.4, "stderr": 0.01, "step": 9}, "sql_bpb": 0.8},
}


def lines(*told: dict[str, Any]) -> str:
    return "".join(json.dumps(each) + "\n" for each in told)


def test_a_native_line_tells_mixture_size_seed_and_errors(tmp_path: Path) -> None:
    reading = read("jsonl", tmp_path, {"a.jsonl": lines(LINE)})
    run = runs(reading)["r1"]
    assert run.weights == {"web": 0.7, "code": 0.3}
    assert (run.values, run.stderrs) == ({"news": 2.0, "arc/acc": 0.4, "sql_bpb": 0.8}, {"arc/acc": 0.01})
    assert (run.model_params, run.train_tokens, run.seed) == (14e6, 3e9, 5)
    found = {target.name: (target.direction, target.unit) for target in reading.targets}
    assert found["news"][0] == "minimize"
    assert found["arc/acc"] == ("maximize", "share")
    assert found["sql_bpb"] == ("minimize", "bits_per_byte")


def test_stages_are_read_with_their_tokens(tmp_path: Path) -> None:
    plan = [
        {"from_token": 0, "to_token": 2e9, "weights": {"web": 1.0}},
        {"from_token": 2e9, "to_token": 3e9, "weights": {"code": 1.0, "maths": 0.0}},
    ]
    # The service itself tells the mean beside the stages.
    told = [LINE | {"mixture": plan}, LINE | {"run_id": "r2", "stages": plan}]
    reading = read("jsonl", tmp_path, {"a.jsonl": lines(*told)})
    assert [domain.name for domain in reading.domains] == ["web", "code", "maths"]
    for run in runs(reading).values():
        assert run.weights is None
        assert [(stage.from_token, stage.to_token, stage.weights) for stage in run.stages] == [
            (0, 2e9, {"web": 1.0}),
            (2e9, 3e9, {"code": 1.0, "maths": 0.0}),
        ]
    assert any("2 runs change their weights on the way" in each for each in reading.remarks.notes)


def test_stages_without_tokens_and_unfinished_lines_are_left_out(tmp_path: Path) -> None:
    staged = LINE | {"run_id": "staged", "mixture": [{"web": 1.0}, {"code": 1.0}]}
    crashed = LINE | {"run_id": "crashed", "state": "crashed"}
    bare = {"run_id": "bare", "losses": {"news": 1.0}}
    records = list(read("jsonl", tmp_path, {"a.jsonl": lines(LINE, staged, crashed, bare)}).runs)
    found = reasons(records)
    assert found["staged"][0] == "weights_moved"
    assert found["crashed"] == ("not_finished", "crashed")
    assert found["bare"][0] == "no_weights"
    assert len(records) == 4


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "a.jsonl: the file is empty"),
        (lines(LINE) + "{oops\n", "a.jsonl, line 2, character 2: this is not JSON"),
        ("[1]\n", "a.jsonl, line 1: this is no JSON object"),
        (lines({"mixture": {}}), "there is no 'run_id'"),
        (lines(LINE | {"mixture": {"web": "much"}}), "field 'mixture.web': 'much' is not a number"),
        (lines(LINE | {"losses": [1]}), "field 'losses': this must be an object"),
        ("[" * 100_000, "too deep|no JSON object|not JSON"),
        ('{"run_id": 1' + "0" * 5000 + "}", "a number is too long"),
    ],
)
def test_a_broken_line_is_refused_at_its_place(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(FormatError, match=complaint):
        list(read("jsonl", tmp_path, {"a.jsonl": text}).runs)


def wandb_run(key: str, state: str = "finished", **config: Any) -> dict[str, Any]:
    config = {"mixture": {"web": 0.6, "code": 0.4}, "n_params": "1e7", "lr": 3e-4} | config
    summary = {"eval/news_bpb": 0.9, "_step": 100, "note": "text"}
    return {"id": key, "name": "same name", "state": state, "config": config, "summary": summary}


WANDB = {"weights_prefix": "mixture.", "metrics_prefix": "eval/", "model_params_key": "n_params"}


def test_only_finished_runs_of_a_wandb_export_are_results(tmp_path: Path) -> None:
    states = ["finished", "crashed", "running", "killed", "preempted", "failed"]
    export = json.dumps([wandb_run(f"id-{state}", state) for state in states])
    records = list(read("wandb", tmp_path, {"runs.json": export}, **WANDB).runs)
    assert reasons(records) == {f"id-{state}": ("not_finished", state) for state in states[1:]}
    run = runs(read("wandb", tmp_path, {"runs.json": export}, **WANDB))["id-finished"]
    assert run.weights == {"web": 0.6, "code": 0.4}
    assert run.values == {"news_bpb": 0.9}
    assert run.model_params == 1e7


def test_wandb_wraps_and_json_inside_of_json_are_opened(tmp_path: Path) -> None:
    run = wandb_run("a")
    run["config"] = json.dumps({"mixture": {"value": {"web": 1.0}, "desc": None}})
    text = json.dumps(run) + "\n" + json.dumps(wandb_run("b")) + "\n"
    found = runs(read("wandb", tmp_path, {"runs.jsonl": text}, **WANDB))
    assert found["a"].weights == {"web": 1.0}
    assert set(found) == {"a", "b"}


def test_a_wandb_run_without_a_mixture_is_left_out(tmp_path: Path) -> None:
    export = json.dumps([wandb_run("a") | {"config": {"lr": 1}}, wandb_run("b", mixture={"web": "lots"})])
    found = reasons(list(read("wandb", tmp_path, {"runs.json": export}, **WANDB).runs))
    assert {key: reason for key, (reason, _) in found.items()} == {"a": "no_weights", "b": "wrong_weights"}


class FakeApi:
    """The part of ``wandb.Api`` that is called."""

    asked: ClassVar[dict[str, Any]] = {}

    def __init__(self, overrides: dict[str, str], timeout: int, api_key: str | None) -> None:
        assert timeout > 0
        self.asked |= {"base": overrides["base_url"], "key": api_key}

    def runs(self, path: str, filters: Any, per_page: int, lazy: bool) -> list[SimpleNamespace]:
        assert per_page > 0
        self.asked |= {"path": path, "filters": filters, "lazy": lazy}
        return [SimpleNamespace(**wandb_run("a")), SimpleNamespace(**wandb_run("b", "crashed"))]


def test_wandb_is_asked_with_the_key_of_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("wandb")
    module.Api = FakeApi  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", module)
    trackers = Trackers(("api.wandb.ai",), wandb_key="secret")
    found = read("wandb", tmp_path, {}, trackers, project="team/swarm", filters={"group": "g"}, **WANDB)
    assert set(runs(found)) == {"a"}
    assert FakeApi.asked == {
        "base": "https://api.wandb.ai",
        "key": "secret",
        "path": "team/swarm",
        "filters": {"group": "g"},
        "lazy": False,
    }


def test_wandb_that_is_not_listed_not_installed_or_broken_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidInput, match="MIXWRIGHT_IMPORT_HOSTS"):
        read("wandb", tmp_path, {}, project="team/swarm")
    trackers = Trackers(("api.wandb.ai",))
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InvalidInput, match="not installed on this server"):
        read("wandb", tmp_path, {}, trackers, project="team/swarm")
    module = ModuleType("wandb")
    module.Api = lambda **_: 1 / 0  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", module)
    with pytest.raises(TrackerFailed, match=r"api\.wandb\.ai did not give the runs of team/swarm"):
        read("wandb", tmp_path, {}, trackers, project="team/swarm")


RESULTS = {
    "results": {
        "arc_easy": {"alias": "arc_easy", "acc,none": 0.41, "acc_stderr,none": 0.01, "acc,flexible": 0.5},
        "pile": {"bits_per_byte,none": 0.9, "bits_per_byte_stderr,none": "N/A"},
    },
    "higher_is_better": {"arc_easy": {"acc": True}, "pile": {"bits_per_byte": False}},
}


def test_lm_eval_results_carry_filters_errors_and_directions(tmp_path: Path) -> None:
    reading = read("lm-eval", tmp_path, {"run-7/results_2026.json": json.dumps(RESULTS)})
    found = {target.name: (target.direction, target.stated) for target in reading.targets}
    assert found == {
        "arc_easy/acc": ("maximize", True),
        "arc_easy/acc,flexible": ("maximize", True),
        "pile/bits_per_byte": ("minimize", True),
    }
    run = runs(reading)["run-7"]
    assert run.weights is None
    assert run.values == {"arc_easy/acc": 0.41, "arc_easy/acc,flexible": 0.5, "pile/bits_per_byte": 0.9}
    assert run.stderrs == {"arc_easy/acc": 0.01}


def test_lm_eval_files_need_to_say_their_run(tmp_path: Path) -> None:
    files = {"results.json": json.dumps(RESULTS)}
    assert set(runs(read("lm-eval", tmp_path, files, runs={"results.json": "r9"}))) == {"r9"}
    with pytest.raises(InvalidInput, match="nothing says which run"):
        read("lm-eval", tmp_path, files)
    with pytest.raises(InvalidInput, match=r"options\.runs: there is no file 'other'"):
        read("lm-eval", tmp_path, files, runs={"other": "r9"})
    with pytest.raises(FormatError, match="no file of lm-evaluation-harness"):
        read("lm-eval", tmp_path, {"a/x.json": '{"results": 3}'})
