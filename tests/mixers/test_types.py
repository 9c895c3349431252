"""The records refuse what they must never hold."""

import numpy as np
import pytest

from mixers.errors import InvalidInput
from mixers.types import Domains, Observations, Prediction, Scale, Targets
from tests.mixers import planted


def build(p, losses=None, **changes):
    p = np.asarray(p, dtype=float)
    losses = np.ones((len(p), 1)) if losses is None else losses
    return Observations(Domains(("a", "b")), Targets(("x",)), p, np.asarray(losses, dtype=float), **changes)


@pytest.mark.parametrize(
    ("p", "message"),
    [
        ([[0.5, 0.8]], "sum to 1.3"),
        ([[1.5, -0.5]], "'b' in row 0 is -0.5"),
        ([[np.nan, 1.0]], "'a' in row 0 is nan"),
        ([[0.5, 0.5], [0.2, 0.2]], "row 1 sum to 0.4"),
    ],
)
def test_weights_off_the_simplex_are_refused_by_row_and_domain(p, message):
    with pytest.raises(InvalidInput, match=message):
        build(p)


def test_an_infinite_loss_is_refused_and_a_missing_one_kept():
    with pytest.raises(InvalidInput, match="infinite"):
        build([[0.5, 0.5]], [[np.inf]])
    assert np.isnan(build([[0.5, 0.5]], [[np.nan]]).losses[0, 0])


def test_a_duplicated_run_id_is_refused():
    with pytest.raises(InvalidInput, match="run id 'r' is named twice"):
        build([[1, 0], [0, 1]], run_ids=("r", "r"))


def test_the_prior_is_normalised_and_negative_sizes_are_refused():
    assert np.allclose(Domains(("a", "b"), np.array([3.0, 1.0])).prior, [0.75, 0.25])
    with pytest.raises(InvalidInput, match="available_tokens of domain 'b'"):
        Domains(("a", "b"), np.array([1.0, 1.0]), np.array([1.0, -1.0]))


def test_targets_without_any_weight_are_refused():
    with pytest.raises(InvalidInput, match="all targets have weight 0"):
        Targets(("x",), np.array([0.0]))


def test_rows_of_equal_weights_share_a_mixture_and_scales_are_ordered():
    runs = build([[1, 0], [0, 1], [1, 0]], np.ones((3, 1)), model_params=np.array([2e6, 1e6, 1e6]))
    assert runs.mixture_groups.tolist() == [0, 1, 0]
    assert runs.scale_groups.tolist() == [1, 0, 0]


def test_rows_keep_their_ids_in_the_asked_order():
    runs = planted.swarm(5)
    assert runs.rows(np.array([3, 1])).run_ids == ("3", "1")


def test_checkpoints_of_one_run_count_once_for_what_was_measured():
    losses = np.array([[1.0, np.nan], [2.0, np.nan], [np.nan, 3.0], [4.0, np.nan]])
    p = np.array([[1.0, 0], [1, 0], [1, 0], [0, 1]])
    runs = Observations(Domains(("a", "b")), Targets(("x", "y")), p, losses, of_run=("a", "a", "a", "b"))
    assert runs.runs_measured.tolist() == [2, 1]
    assert runs.rows(np.array([3, 0])).of_run == ("b", "a")
    assert planted.swarm(3).of_run == ("0", "1", "2")
    with pytest.raises(InvalidInput, match="runs of 1 rows for 3"):
        build([[1, 0], [0, 1], [1, 0]], of_run=("a",))


def test_a_prediction_must_be_finite():
    with pytest.raises(InvalidInput, match="finite"):
        Prediction(np.array([np.nan]), np.array([1.0]))


def test_a_scale_of_zero_parameters_is_refused():
    with pytest.raises(InvalidInput, match="model_params"):
        Scale(np.float64(0), np.float64(1))
