"""Queries and predictions: each query once and in order, numbers that read back as the same floats."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from app.formats.errors import FormatError
from app.formats.queries import check_destination, read_queries, write_predictions
from app.formats.swarm_folder import Swarm, read_swarm
from mixers.types import Prediction
from tests.app.swarm_tables import DOMAINS, Row, mixtures, run_rows, write_rows, write_swarm


@pytest.fixture
def swarm(tmp_path: Path) -> Swarm:
    return read_swarm(write_swarm(tmp_path / "swarm"))


def test_runs_with_their_losses_are_queries_whose_losses_are_ignored(tmp_path: Path) -> None:
    rows = run_rows(6)
    rows[2]["loss:sql"] = "not even a number"
    queries = read_queries(write_rows(tmp_path / "q.csv", rows), DOMAINS)
    np.testing.assert_allclose(queries.p, mixtures(6), rtol=1e-15)
    assert queries.run_ids == ("r0", "r1", "r2", "r3", "r4", "r5")
    np.testing.assert_array_equal(queries.train_tokens, np.full(6, 1e9))


def test_queries_follow_the_order_of_the_swarm_and_need_no_scale(tmp_path: Path) -> None:
    rows: list[Row] = [{"w:books": 0.1, "w:web": 0.7, "run_id": "q", "w:code": 0.2}]
    queries = read_queries(write_rows(tmp_path / "q.csv", rows), DOMAINS)
    np.testing.assert_allclose(queries.p, [[0.7, 0.2, 0.1]])
    assert np.isnan(queries.model_params).all()
    assert np.isnan(queries.train_tokens).all()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"w:web": 1, "w:code": 0, "w:books": 0}, "there is no column 'run_id'"),
        ({"run_id": "q", "w:web": 1, "w:code": 0}, "there is no weight for domain 'books'; add a column 'w:books'"),
        ({"run_id": "q", "w:web": 1, "w:code": 0, "w:books": 0, "w:art": 0}, "domain 'art' is not one of the swarm"),
        ({"run_id": "q", "w:web": 1, "w:code": 1, "w:books": 0}, r"line 2: the weights of run 'q' sum to 2"),
        ({"run_id": "q", "w:web": "x", "w:code": 1, "w:books": 0}, "line 2, column 'w:web'"),
    ],
)
def test_wrong_queries_are_refused(tmp_path: Path, row: Row, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read_queries(write_rows(tmp_path / "q.csv", [row]), DOMAINS)


def test_a_query_that_stands_twice_is_refused(tmp_path: Path) -> None:
    rows: list[Row] = [{"run_id": "q", "w:web": 1, "w:code": 0, "w:books": 0}] * 2
    with pytest.raises(FormatError, match="line 3, column 'run_id': query 'q' stands here and on line 2"):
        read_queries(write_rows(tmp_path / "q.csv", rows), DOMAINS)


def test_predictions_read_back_as_the_same_numbers(swarm: Swarm, tmp_path: Path) -> None:
    mean = np.array([[0.1 + 0.2, 1 / 3], [1e-17, 123456789.123456789]])
    out = tmp_path / "out.csv"
    write_predictions(out, swarm, ["b, quoted", "a"], Prediction(mean, np.zeros((2, 2))))
    with out.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["run_id", "loss:news", "loss:sql"]
    assert [row[0] for row in rows[1:]] == ["b, quoted", "a"]
    assert [[float(cell) for cell in row[1:]] for row in rows[1:]] == mean.tolist()


def test_a_maximised_metric_is_written_in_its_own_direction(tmp_path: Path) -> None:
    rows = [{name.replace("loss:sql", "metric:sql"): value for name, value in row.items()} for row in run_rows()]
    swarm = read_swarm(write_swarm(tmp_path / "swarm", rows))
    write_predictions(tmp_path / "out.csv", swarm, ["q"], Prediction(np.array([[2.0, -0.75]]), np.zeros((1, 2))))
    assert (tmp_path / "out.csv").read_text() == "run_id,loss:news,metric:sql\nq,2.0,0.75\n"


def test_a_place_that_cannot_take_the_predictions_is_refused_before_any_work(swarm: Swarm, tmp_path: Path) -> None:
    queries = write_rows(tmp_path / "q.csv", run_rows(2))
    link = tmp_path / "link.csv"
    link.symlink_to(swarm.folder / "runs.csv")
    for source in (queries, swarm.folder / "runs.csv", link):
        with pytest.raises(FormatError, match="is read as input; write the predictions to another file"):
            check_destination(source, swarm.folder, queries)
    with pytest.raises(IsADirectoryError, match="is a directory; name a file"):
        check_destination(tmp_path, swarm.folder, queries)
    with pytest.raises(FileNotFoundError, match=r"the folder .*absent of out\.csv does not exist"):
        check_destination(tmp_path / "absent" / "out.csv", swarm.folder, queries)
    check_destination(tmp_path / "out.csv", swarm.folder, queries)
    assert not (tmp_path / "out.csv").exists()
