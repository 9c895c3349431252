"""Swarm folders: what is read comes back exactly, what is assumed is said, what is wrong is refused by its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from app.formats.errors import FormatError
from app.formats.swarm_folder import read_swarm
from app.formats.weight_columns import SumTolerance
from tests.app.swarm_tables import (
    Row,
    domain_rows,
    mixtures,
    run_rows,
    target_rows,
    true_losses,
    write_rows,
    write_swarm,
)

PUBLIC = (
    "admire_ift",
    "mixinglaws_continual",
    "mixinglaws_pile2",
    "mixinglaws_pile3",
    "mixinglaws_pile5",
    "mixinglaws_redpajama",
    "olmix_dclm",
    "olmix_full",
    "olmix_reuse",
    "pile4_nd",
    "regmix_pile",
    "slimpajama_nd",
)


def with_weights(rows: list[Row], index: int, *weights: float) -> list[Row]:
    """The rows, with other weights in one of them."""
    rows[index] |= dict(zip(("w:web", "w:code", "w:books"), weights, strict=True))
    return rows


# --- what is read --------------------------------------------------------------------------------------------------


def test_a_folder_comes_back_as_it_was_written(tmp_path: Path) -> None:
    swarm = read_swarm(write_swarm(tmp_path / "swarm"))
    np.testing.assert_allclose(swarm.runs.p, mixtures(24), rtol=1e-15)
    np.testing.assert_array_equal(swarm.runs.losses, true_losses(mixtures(24)))
    assert swarm.runs.run_ids == tuple(f"r{i}" for i in range(24))
    assert swarm.runs.domains.names == ("web", "code", "books")
    np.testing.assert_allclose(swarm.runs.domains.prior, [0.7, 0.2, 0.1])
    np.testing.assert_array_equal(swarm.runs.domains.available_tokens, [7e9, 2e9, 1e9])
    assert swarm.runs.targets.families == ("", "code")
    np.testing.assert_array_equal(swarm.runs.targets.weights, [1, 3])
    np.testing.assert_array_equal(swarm.runs.model_params, np.full(24, 1e6))
    assert swarm.target_columns == ("loss:news", "loss:sql")
    assert swarm.remarks.notes == swarm.remarks.warnings == ()


def test_names_decide_and_not_the_order_of_the_lists(tmp_path: Path) -> None:
    plain = read_swarm(write_swarm(tmp_path / "plain"))
    turned = read_swarm(write_swarm(tmp_path / "turned", domains=domain_rows()[::-1], targets=target_rows()[::-1]))
    assert turned.runs.domains.names == ("books", "code", "web")
    np.testing.assert_allclose(turned.runs.p, plain.runs.p[:, ::-1], rtol=1e-15)
    assert turned.runs.targets == plain.runs.targets


def test_an_empty_loss_is_not_measured_and_a_row_without_any_is_left_out(tmp_path: Path) -> None:
    rows = run_rows(5)
    rows[1]["loss:news"] = ""
    rows[3] |= {"loss:news": "nan", "loss:sql": ""}
    swarm = read_swarm(write_swarm(tmp_path / "swarm", rows))
    assert swarm.runs.run_ids == ("r0", "r1", "r2", "r4")
    np.testing.assert_array_equal(np.isnan(swarm.runs.losses[1]), [True, False])
    assert swarm.remarks.notes == ("runs.csv: 1 of 5 rows measure no target and were left out",)


def test_a_metric_is_negated_unless_its_direction_says_otherwise(tmp_path: Path) -> None:
    rows = [
        {"run_id": i, "w:web": w, "w:code": 1 - w, "metric:acc": 10 + i, "metric:ppl": 20 + i, "loss:score": 30 + i}
        for i, w in enumerate((0.2, 0.5))
    ]
    domains = [{"domain": "web", "prior": 0.5}, {"domain": "code", "prior": 0.5}]
    targets: list[Row] = [
        {"target": "acc", "direction": ""},
        {"target": "ppl", "direction": "minimize"},
        {"target": "score", "direction": "Maximize"},
    ]
    swarm = read_swarm(write_swarm(tmp_path / "swarm", rows, domains, targets))
    assert swarm.runs.targets.maximised == (True, False, True)
    np.testing.assert_array_equal(swarm.runs.losses, [[-10, 20, -30], [-11, 21, -31]])
    assert swarm.target_columns == ("metric:acc", "metric:ppl", "loss:score")
    assert swarm.remarks.notes == ("no direction is given for 'acc': a metric is taken as to be maximised",)


def test_mixtures_are_told_apart_by_mix_id_or_else_by_weights(tmp_path: Path) -> None:
    rows = with_weights(with_weights(run_rows(3), 0, 0.5, 0.5, 0), 1, 0.5, 0.5, 0)
    swarm = read_swarm(write_swarm(tmp_path / "plain", rows))
    assert swarm.runs.mixture_groups.tolist() == [0, 0, 1]
    named = [row | {"mix_id": mix} for row, mix in zip(rows, "aba", strict=True)]
    swarm = read_swarm(write_swarm(tmp_path / "named", named))
    assert swarm.runs.mixture_groups.tolist() == [0, 1, 0]


def test_scales_that_are_not_written_are_unknown(tmp_path: Path) -> None:
    rows = run_rows(3)
    for row in rows:
        del row["train_tokens"]
    rows[1]["model_params"] = ""
    swarm = read_swarm(write_swarm(tmp_path / "swarm", rows))
    assert np.isnan(swarm.runs.train_tokens).all()
    np.testing.assert_array_equal(swarm.runs.model_params, [1e6, np.nan, 1e6])


# --- what is assumed -----------------------------------------------------------------------------------------------


def test_without_lists_the_mixture_is_unknown_and_targets_weigh_one(tmp_path: Path) -> None:
    write_rows(tmp_path / "runs.csv", run_rows())
    swarm = read_swarm(tmp_path)
    np.testing.assert_allclose(swarm.runs.domains.prior, 1 / 3)
    assert np.isinf(swarm.runs.domains.available_tokens).all()
    np.testing.assert_array_equal(swarm.runs.targets.weights, [1, 1])
    assert swarm.remarks.notes == (
        "there is no domains.csv: token counts and the natural mixture are unknown (uniform is used)",
        "there is no targets.csv: every target weighs 1",
    )


def test_the_natural_mixture_follows_from_token_counts_else_it_is_unknown(tmp_path: Path) -> None:
    tokens: list[Row] = [
        {"domain": row["domain"], "available_tokens": row["available_tokens"]} for row in domain_rows()
    ]
    swarm = read_swarm(write_swarm(tmp_path / "tokens", domains=tokens))
    np.testing.assert_allclose(swarm.runs.domains.prior, [0.7, 0.2, 0.1])
    assert swarm.remarks.notes == ("domains.csv has no prior: the natural mixture follows from available_tokens",)
    tokens[1]["available_tokens"] = ""
    swarm = read_swarm(write_swarm(tmp_path / "partly", domains=tokens))
    np.testing.assert_allclose(swarm.runs.domains.prior, 1 / 3)
    np.testing.assert_array_equal(swarm.runs.domains.available_tokens, [7e9, np.inf, 1e9])
    assert swarm.remarks.notes == ("domains.csv has no prior: the natural mixture is unknown (uniform is used)",)


def test_priors_are_normalised_and_bounds_are_kept(tmp_path: Path) -> None:
    rows: list[Row] = [
        {"domain": "web", "prior": 60, "max_weight": ""},
        {"domain": "code", "prior": 30, "max_weight": 0.4},
        {"domain": "books", "prior": 10, "max_weight": 1},
    ]
    swarm = read_swarm(write_swarm(tmp_path / "swarm", domains=rows))
    np.testing.assert_allclose(swarm.runs.domains.prior, [0.6, 0.3, 0.1])
    assert swarm.max_weights == {"code": 0.4, "books": 1.0}
    assert swarm.remarks.notes == ("domains.csv: the priors sum to 100 and were normalised",)


def test_least_weights_and_groups_are_kept(tmp_path: Path) -> None:
    rows: list[Row] = [
        {"domain": "web", "min_weight": 0.1, "group": "text"},
        {"domain": "code", "min_weight": "", "group": ""},
        {"domain": "books", "min_weight": 0, "group": "text"},
    ]
    swarm = read_swarm(write_swarm(tmp_path / "swarm", domains=rows))
    assert swarm.min_weights == {"web": 0.1, "books": 0.0}
    assert swarm.groups == {"text": ("web", "books")}
    wrong = write_swarm(tmp_path / "wrong", domains=[row | {"min_weight": 1.2} for row in rows])
    with pytest.raises(FormatError, match=r"line 2, column 'min_weight': 1.2 is above 1; write a weight from 0 to 1"):
        read_swarm(wrong)


# --- sums of weights -----------------------------------------------------------------------------------------------


def test_rounded_weights_are_normalised_and_counted(tmp_path: Path) -> None:
    rows = with_weights(with_weights(run_rows(4), 1, 0.5, 0.25, 0.254), 2, 0.5, 0.25, 0.245)
    swarm = read_swarm(write_swarm(tmp_path / "swarm", rows))
    np.testing.assert_allclose(swarm.runs.p[1], np.array([0.5, 0.25, 0.254]) / 1.004)
    np.testing.assert_allclose(swarm.runs.p.sum(axis=1), 1, rtol=1e-15)
    assert swarm.remarks.notes == (
        "runs.csv: the weights of 2 of 4 rows were off by rounding (sums from 0.995 to 1.004) and were normalised",
    )
    assert swarm.remarks.warnings == ()


def test_weights_that_miss_more_are_normalised_with_a_warning(tmp_path: Path) -> None:
    rows = with_weights(with_weights(run_rows(4), 1, 0.5, 0.25, 0.27), 3, 0.5, 0.25, 0.2)
    swarm = read_swarm(write_swarm(tmp_path / "swarm", rows))
    np.testing.assert_allclose(swarm.runs.p[3], np.array([0.5, 0.25, 0.2]) / 0.95)
    assert swarm.remarks.notes == ()
    assert swarm.remarks.warnings == (
        "runs.csv: the weights of 2 of 4 rows miss a sum of 1 by more than 0.005 and were normalised; "
        "the first is run 'r1' on line 3, which sums to 1.02",
    )


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ((0.5, 0.5, 0.3), r"line 3: the weights of run 'r1' sum to 1\.3; they must sum to 1 within 0\.05 "),
        ((0.5, 0.5, 0.3), r"\(--tolerance 0\.3 accepts this row\)"),
        ((0.5, 0.2, 0.2), r"sum to 0\.9; .* \(--tolerance 0\.1 accepts this row\)"),
        ((50, 25, 25), r"sum to 100; .*these look like percentages"),
        ((0, 0, 0), r"sum to 0; at least one must be positive"),
    ],
)
def test_weights_far_from_one_are_refused(tmp_path: Path, weights: tuple[float, ...], message: str) -> None:
    folder = write_swarm(tmp_path / "swarm", with_weights(run_rows(4), 1, *weights))
    with pytest.raises(FormatError, match=message):
        read_swarm(folder, SumTolerance.widened(None))


def test_a_command_without_the_option_does_not_advise_it(tmp_path: Path) -> None:
    folder = write_swarm(tmp_path / "swarm", with_weights(run_rows(4), 1, 0.5, 0.5, 0.3))
    with pytest.raises(FormatError, match=r"sum to 1\.3; they must sum to 1 within 0\.05$"):
        read_swarm(folder)


def test_the_advised_tolerance_accepts_the_row_and_counts_it_as_rounding(tmp_path: Path) -> None:
    folder = write_swarm(tmp_path / "swarm", with_weights(run_rows(4), 1, 0.5, 0.5, 0.3))
    swarm = read_swarm(folder, SumTolerance.widened(0.3))
    np.testing.assert_allclose(swarm.runs.p[1], np.array([0.5, 0.5, 0.3]) / 1.3)
    assert swarm.remarks.warnings == ()
    assert "1 of 4 rows were off by rounding" in swarm.remarks.notes[0]


def test_a_tolerance_sets_both_limits_only_when_it_is_wider_than_usual() -> None:
    assert SumTolerance.widened(None) == SumTolerance(0.005, 0.05, asked_for=True)
    assert SumTolerance.widened(0.02) == SumTolerance(0.02, 0.02, asked_for=True)
    assert SumTolerance.widened(0.001) == SumTolerance(0.001, 0.05, asked_for=True)
    for wrong in (-0.1, 1.0, float("nan")):
        with pytest.raises(FormatError, match="at least 0 and less than 1"):
            SumTolerance.widened(wrong)


# --- what is refused -----------------------------------------------------------------------------------------------


def changed(column: str, value: object, index: int = 1) -> Callable[[list[Row]], None]:
    def change(rows: list[Row]) -> None:
        rows[index][column] = value

    return change


def without(column: str) -> Callable[[list[Row]], None]:
    def change(rows: list[Row]) -> None:
        for row in rows:
            del row[column]

    return change


def column_of(column: str, value: object) -> Callable[[list[Row]], None]:
    def change(rows: list[Row]) -> None:
        for row in rows:
            row[column] = value

    return change


def renamed(old: str, new: str) -> Callable[[list[Row]], None]:
    def change(rows: list[Row]) -> None:
        for i, row in enumerate(rows):
            rows[i] = {new if name == old else name: value for name, value in row.items()}

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("run_id"), r"runs.csv: there is no column 'run_id'; the columns are 'model_params'"),
        (changed("run_id", "r0"), r"runs.csv, line 3, column 'run_id': run 'r0' stands here and on line 2"),
        (changed("w:code", -0.1), r"runs.csv, line 3, column 'w:code': the weight -0.1 is negative"),
        (changed("w:code", "nan"), r"line 3, column 'w:code': nan is not a number; write a weight from 0 to 1"),
        (changed("w:code", ""), r"line 3, column 'w:code': the cell is empty; .* 0 for a domain that is not used"),
        (changed("w:code", "half"), r"line 3, column 'w:code': 'half' is not a finite number"),
        (changed("loss:sql", "n/a"), r"line 3, column 'loss:sql': 'n/a' is not a finite number; .* nothing where it"),
        (changed("loss:sql", "inf"), r"line 3, column 'loss:sql': 'inf' is not a finite number"),
        (column_of("loss:sql", ""), r"runs.csv, column 'loss:sql': no run has a value"),
        (changed("model_params", 0), r"line 3, column 'model_params': 0 is not positive"),
        (changed("train_tokens", "1B"), r"line 3, column 'train_tokens': '1B' is not a finite number"),
        (column_of("metric:sql", 1), r"target 'sql' has two columns, 'loss:sql' and 'metric:sql'"),
        (column_of("loss:", 1), r"a column is named 'loss:'; put the target's name behind the colon"),
        (column_of("w:", 0), r"a column is named 'w:'; put the domain's name behind the colon"),
        (column_of("w:math", 0), r"domains.csv: domain 'math' of runs.csv is not listed here"),
        (without("w:books"), r"domains.csv, line 4: domain 'books' has no column in runs.csv; .* 'w:<domain>'"),
        (column_of("loss:qa", 1), r"targets.csv: target 'qa' of runs.csv is not listed here"),
        (without("loss:sql"), r"targets.csv, line 3: target 'sql' has no column in runs.csv"),
    ],
)
def test_wrong_runs_are_refused(tmp_path: Path, change: Callable[[list[Row]], None], message: str) -> None:
    rows = run_rows(4)
    change(rows)
    with pytest.raises(FormatError, match=message):
        read_swarm(write_swarm(tmp_path / "swarm", rows))


@pytest.mark.parametrize("kind", ["w:", "loss:"])
def test_runs_without_any_weight_or_target_are_refused(tmp_path: Path, kind: str) -> None:
    rows = [{name: value for name, value in row.items() if not name.startswith(kind)} for row in run_rows(4)]
    with pytest.raises(FormatError, match=f"runs.csv: there is no .*name them '{kind}"):
        read_swarm(write_swarm(tmp_path / "swarm", rows))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (renamed("domain", "name"), r"domains.csv: there is no column 'domain'"),
        (changed("domain", "web"), r"domains.csv, line 3, column 'domain': domain 'web' stands here and on line 2"),
        (changed("prior", ""), r"line 3, column 'prior': the cell is empty; .* leave the whole column out"),
        (changed("prior", -1), r"line 3, column 'prior': -1 is negative"),
        (column_of("prior", 0), r"column 'prior': all are 0"),
        (changed("available_tokens", -5), r"line 3, column 'available_tokens': -5 is negative"),
        (changed("available_tokens", "many"), r"column 'available_tokens': 'many' is not a finite number"),
        (column_of("max_weight", 1.5), r"line 2, column 'max_weight': 1.5 is above 1"),
    ],
)
def test_a_wrong_domain_list_is_refused(tmp_path: Path, change: Callable[[list[Row]], None], message: str) -> None:
    rows = domain_rows()
    change(rows)
    with pytest.raises(FormatError, match=message):
        read_swarm(write_swarm(tmp_path / "swarm", domains=rows))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (renamed("target", "name"), r"targets.csv: there is no column 'target'"),
        (changed("target", "news"), r"targets.csv, line 3, column 'target': target 'news' stands here and on line 2"),
        (changed("weight", -1), r"line 3, column 'weight': -1 is negative"),
        (changed("weight", "high"), r"line 3, column 'weight': 'high' is not a finite number"),
        (column_of("weight", 0), r"column 'weight': all are 0; at least one target"),
        (column_of("direction", "up"), r"line 2, column 'direction': 'up' is no direction; write minimize or maximize"),
    ],
)
def test_a_wrong_target_list_is_refused(tmp_path: Path, change: Callable[[list[Row]], None], message: str) -> None:
    rows = target_rows()
    change(rows)
    with pytest.raises(FormatError, match=message):
        read_swarm(write_swarm(tmp_path / "swarm", targets=rows))


def test_a_path_that_is_no_swarm_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"the folder .*absent does not exist"):
        read_swarm(tmp_path / "absent")
    with pytest.raises(FormatError, match=r"has no runs\.csv"):
        read_swarm(tmp_path)
    runs = write_rows(tmp_path / "runs.csv", run_rows())
    with pytest.raises(FormatError, match=r"runs\.csv is a file; give the folder"):
        read_swarm(runs)
    runs.unlink()
    runs.mkdir()
    with pytest.raises(FormatError, match=r"runs\.csv is a directory"):
        read_swarm(tmp_path)


# --- the public tables ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_table_is_read_whole(public_table: Callable[[str], Path], name: str) -> None:
    folder = public_table(name)
    swarm = read_swarm(folder)
    lines = [line for line in (folder / "runs.csv").read_text(encoding="utf-8").splitlines() if line]
    header = lines[0].split(",")
    assert len(swarm.runs) == len(lines) - 1
    assert len(swarm.runs.domains) == sum(column.startswith("w:") for column in header)
    assert swarm.target_columns == tuple(column for column in header if column.startswith("loss:"))
    assert bool(swarm.remarks.warnings) == (name == "mixinglaws_redpajama")  # its mixture mix999 sums to 1.02
