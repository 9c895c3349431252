"""Stacks on disk: an interrupted run ends as an undisturbed one, and a bad file costs time, never a result."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from proxy_training import checkpoint as checkpoint_module
from proxy_training import evaluate as evaluate_module
from proxy_training import stacked_run as stacked_run_module
from proxy_training.checkpoint import CheckpointPolicy, Checkpoints, MemberHeader, StackState
from proxy_training.corpus_read import Corpus
from proxy_training.evaluate import ValidationSet
from proxy_training.spec import ProxyResult, ProxySpec
from proxy_training.stacked_run import StackedRun
from proxy_training.work import Assignment
from tests.proxy_training.text_corpora import make_corpus, names_in, texts
from tests.proxy_training.training_cases import STEP_TOKENS, Recorder, some_runs, tiny_settings

EVERY_STEP = 0.0


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder: Path = tmp_path_factory.mktemp("checkpoint")
    return make_corpus(folder, {"a": texts(0, 30), "b": texts(1, 30)}, context=16, validation_fraction=0.2)


def train(
    specs: list[ProxySpec], corpus: Corpus, folder: Path | None = None, watcher: Recorder | None = None, **keys: object
) -> Recorder:
    """Train ``specs`` as one stack, named by their seeds, with a checkpoint after every step."""
    watcher = watcher or Recorder(**keys)  # type: ignore[arg-type]
    validation = ValidationSet.of(corpus, 16, 8)
    policy = None if folder is None else CheckpointPolicy(Checkpoints(folder), EVERY_STEP)
    assignments = [Assignment(str(spec.seed), spec) for spec in specs]
    StackedRun(assignments, corpus, validation, watcher, torch.device("cpu"), policy).run()
    return watcher


def without_times(result: ProxyResult) -> ProxyResult:
    return result.model_copy(update={"wall_seconds": 0.0, "cpu_seconds": 0.0})


def test_interrupted_and_resumed_equals_undisturbed(tmp_path: Path, corpus: Corpus) -> None:
    specs = some_runs(corpus, 3, steps=10, measure_at_tokens=(2 * STEP_TOKENS, 7 * STEP_TOKENS))
    undisturbed = train(specs, corpus)
    first = train(specs, corpus, tmp_path, stop_after_tokens=5 * STEP_TOKENS)
    assert first.outcomes == {}
    second = train(specs, corpus, tmp_path)
    assert second.progress["0"] == [step * STEP_TOKENS for step in range(6, 11)]
    for spec in specs:
        name = str(spec.seed)
        assert without_times(second.result(name)) == without_times(undisturbed.result(name))


def test_part_of_a_saved_stack_goes_on_without_the_rest(tmp_path: Path, corpus: Corpus) -> None:
    specs = some_runs(corpus, 3, steps=6)
    undisturbed = train(specs, corpus)
    train(specs, corpus, tmp_path, stop_after_tokens=4 * STEP_TOKENS)
    resumed = train([specs[2], specs[0]], corpus, tmp_path)
    assert resumed.progress["2"] == [5 * STEP_TOKENS, 6 * STEP_TOKENS]
    for name in ("0", "2"):
        assert without_times(resumed.result(name)) == without_times(undisturbed.result(name))


def test_the_time_before_an_interruption_counts(tmp_path: Path, corpus: Corpus) -> None:
    specs = some_runs(corpus, 1, steps=6)
    train(specs, corpus, tmp_path, stop_after_tokens=4 * STEP_TOKENS)
    state = Checkpoints(tmp_path).find(specs, "fp32")
    assert state is not None
    assert state.members[0].wall_seconds > 0
    assert train(specs, corpus, tmp_path).result("0").wall_seconds > state.members[0].wall_seconds


def test_a_finished_stack_leaves_no_file(tmp_path: Path, corpus: Corpus) -> None:
    train(some_runs(corpus, 2, steps=3), corpus, tmp_path)
    assert names_in(tmp_path) == []


def test_a_stack_that_lost_members_leaves_no_file_either(tmp_path: Path, corpus: Corpus) -> None:
    watcher = train(some_runs(corpus, 2, steps=4), corpus, tmp_path, drop={"1": 2 * STEP_TOKENS})
    assert set(watcher.outcomes) == {"0"}
    assert names_in(tmp_path) == []


def test_other_runs_do_not_resume_from_it(tmp_path: Path, corpus: Corpus) -> None:
    specs = some_runs(corpus, 2, steps=4)
    train(specs[:1], corpus, tmp_path, stop_after_tokens=2 * STEP_TOKENS)
    assert Checkpoints(tmp_path).find(specs, "fp32") is None
    assert Checkpoints(tmp_path).find(specs[1:], "fp32") is None


def test_another_version_starts_afresh(
    tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    specs = some_runs(corpus, 1, steps=4)
    train(specs, corpus, tmp_path, stop_after_tokens=2 * STEP_TOKENS)
    monkeypatch.setattr(checkpoint_module, "version", lambda _: "99.0")
    assert Checkpoints(tmp_path).find(specs, "fp32") is None
    assert "cannot go on in version 99.0" in caplog.text


def test_numbers_of_another_format_start_afresh(
    tmp_path: Path, corpus: Corpus, caplog: pytest.LogCaptureFixture
) -> None:
    specs = some_runs(corpus, 1, steps=4)
    train(specs, corpus, tmp_path, stop_after_tokens=2 * STEP_TOKENS)
    assert Checkpoints(tmp_path).find(specs, "bf16") is None
    assert "in fp32 and cannot go on" in caplog.text


def test_the_halves_of_a_stack_go_on_from_its_file_one_after_the_other(tmp_path: Path, corpus: Corpus) -> None:
    specs = some_runs(corpus, 5, steps=6)
    undisturbed = train(specs, corpus)
    train(specs, corpus, tmp_path, stop_after_tokens=4 * STEP_TOKENS)
    whole = sum(path.stat().st_size for path in tmp_path.iterdir())
    for half in (specs[:3], specs[3:]):
        resumed = train(half, corpus, tmp_path)
        for spec in half:
            name = str(spec.seed)
            assert resumed.progress[name] == [5 * STEP_TOKENS, 6 * STEP_TOKENS]
            assert without_times(resumed.result(name)) == without_times(undisturbed.result(name))
        if half[0] is specs[0]:  # what is kept for the others is no more than theirs
            (left,) = tmp_path.iterdir()
            assert left.stat().st_size < 0.5 * whole
    assert names_in(tmp_path) == []


def test_a_stack_that_lost_a_member_goes_on_without_it(tmp_path: Path, corpus: Corpus) -> None:
    specs = some_runs(corpus, 3, steps=6)
    undisturbed = train(specs, corpus)
    train(specs, corpus, tmp_path, drop={"1": 2 * STEP_TOKENS}, stop_after_tokens=4 * STEP_TOKENS)
    resumed = train([specs[0], specs[2]], corpus, tmp_path)
    assert resumed.progress["2"] == [5 * STEP_TOKENS, 6 * STEP_TOKENS]
    for name in ("0", "2"):
        assert without_times(resumed.result(name)) == without_times(undisturbed.result(name))


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def with_a_bit_changed(at: int) -> Callable[[bytes], bytes]:
    def damage(content: bytes) -> bytes:
        changed = bytearray(content)
        changed[at] ^= 1
        return bytes(changed)

    return damage


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut short": (cut, "it was cut short"),
    "another file": (lambda _: b"x" * 500, "it is no saved stack"),
    "empty": (lambda _: b"", "it is no saved stack"),
    "cut short in the header": (lambda content: content[:300], "its header is damaged"),
    "a bit of the header": (with_a_bit_changed(200), "its header is damaged"),
    "a bit of the numbers": (with_a_bit_changed(-5000), "its numbers are damaged"),
    "the last bit": (with_a_bit_changed(-1), "its numbers are damaged"),
    "zeros of a power cut": (lambda content: content[:-4096] + bytes(4096), "its numbers are damaged"),
}


@pytest.mark.parametrize(("damage", "said"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_is_told_and_costs_the_start_again_and_nothing_else(
    damage: Callable[[bytes], bytes], said: str, tmp_path: Path, corpus: Corpus, caplog: pytest.LogCaptureFixture
) -> None:
    specs = some_runs(corpus, 1, steps=4)
    undisturbed = train(specs, corpus)
    train(specs, corpus, tmp_path, stop_after_tokens=2 * STEP_TOKENS)
    (file,) = tmp_path.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    again = train(specs, corpus, tmp_path)
    assert len(again.progress["0"]) == 4
    assert without_times(again.result("0")) == without_times(undisturbed.result("0"))
    assert f"{file} cannot be read: {said}" in caplog.text


@pytest.mark.parametrize("members", [1, 2])
def test_a_state_is_found_again_to_the_bit(members: int, tmp_path: Path, corpus: Corpus) -> None:
    specs = some_runs(corpus, members)
    # 7 parameters: rows of an odd number of bytes of 8. Infinities, negative zeros and numbers too small to be normal.
    odd = np.array([np.inf, -0.0, 1e-42, -1.5, 3.4e38, 0.1, 7.0], np.float32)
    arrays = [np.stack([np.roll(odd, 3 * row + shift) for row in range(members)]) for shift in (0, 1, 2)]
    saved = StackState(5, "fp32", tuple(MemberHeader(spec=spec) for spec in specs), *arrays)
    Checkpoints(tmp_path).save(saved)
    found = Checkpoints(tmp_path).find(specs[::-1], "fp32")
    assert found is not None
    assert found.members == saved.members[::-1]
    for name in ("parameters", "first", "second"):
        assert getattr(found, name).tobytes() == getattr(saved, name)[::-1].tobytes()


@contextmanager
def no_room_for(some_bytes: int) -> Iterator[None]:
    """Let no file of this process grow beyond that; the kernel then writes what still fits, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (some_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_without_room_costs_the_checkpoint_and_not_the_training(
    tmp_path: Path, corpus: Corpus, caplog: pytest.LogCaptureFixture
) -> None:
    with no_room_for(20_000):
        trained = train(some_runs(corpus, 1, steps=3), corpus, tmp_path)
    assert trained.result("0").status == "succeeded"
    assert "The checkpoint could not be written: [Errno 27] File too large" in caplog.text
    assert names_in(tmp_path) == []


def test_a_disk_without_room_leaves_the_checkpoint_before_as_it_was(tmp_path: Path, corpus: Corpus) -> None:
    specs = some_runs(corpus, 2, steps=6)
    train(specs, corpus, tmp_path, stop_after_tokens=2 * STEP_TOKENS)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with no_room_for(20_000):
        train(specs, corpus, tmp_path, stop_after_tokens=4 * STEP_TOKENS)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_stacks_that_nobody_wants_any_more_are_swept(tmp_path: Path, corpus: Corpus) -> None:
    old, young = some_runs(corpus, 2, steps=4)
    for spec in (old, young):
        train([spec], corpus, tmp_path, stop_after_tokens=2 * STEP_TOKENS)
    checkpoints = Checkpoints(tmp_path)
    path = checkpoints._path([old])
    eight_days_ago = time.time() - 8 * 24 * 3600
    os.utime(path, (eight_days_ago, eight_days_ago))
    (tmp_path / ".half.stack.abc.part").write_bytes(b"half")
    os.utime(tmp_path / ".half.stack.abc.part", (eight_days_ago, eight_days_ago))
    checkpoints.sweep()
    assert names_in(tmp_path) == [checkpoints._path([young]).name]


def test_losses_are_measured_at_the_first_step_at_or_after_each_asked_count_and_at_the_end(corpus: Corpus) -> None:
    settings = tiny_settings(corpus, steps=8, measure_at_tokens=(1, STEP_TOKENS, 2 * STEP_TOKENS + 1))
    assert settings.measured_tokens == (STEP_TOKENS, 3 * STEP_TOKENS, 8 * STEP_TOKENS)


def test_a_trajectory_has_the_losses_of_shorter_runs_with_the_same_rates(corpus: Corpus) -> None:
    constant = {"schedule": "constant", "warmup_fraction": 0.0}
    (long,) = some_runs(corpus, 1, steps=6, optimizer=constant, measure_at_tokens=(3 * STEP_TOKENS,))
    (short,) = some_runs(corpus, 1, steps=3, optimizer=constant)
    recorder = train([long], corpus)
    trajectory = recorder.result("0").trajectory
    assert [point.train_tokens for point in trajectory] == [3 * STEP_TOKENS, 6 * STEP_TOKENS]
    assert trajectory[0].losses == train([short], corpus).result("0").losses
    assert recorder.points == [("0", trajectory[0])]


class StopsInsideOfMeasurements(Recorder):
    """Says stop at the third look after a step, which is in the middle of a measurement; later it is told no more."""

    def __init__(self) -> None:
        super().__init__()
        self._looks = 0

    def stopping(self) -> bool:
        self._looks += 1
        return self._tokens >= 4 * STEP_TOKENS and self._looks >= 3

    def progressed(self, run_ids: Collection[str], train_tokens: int) -> None:
        super().progressed(run_ids, train_tokens)
        self._looks = 0


@pytest.mark.parametrize("steps", [4, 6])
def test_a_stop_in_the_middle_of_a_measurement_is_heard_and_costs_no_point(
    steps: int, tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate_module, "_CHUNK_TOKENS", {"cpu": 16, "cuda": 16})  # a window a look
    monkeypatch.setattr(stacked_run_module, "_WORTH_SAVING_SECONDS", 0.0)
    specs = some_runs(corpus, 2, steps=steps, measure_at_tokens=(4 * STEP_TOKENS,))
    undisturbed = train(specs, corpus)
    stopped = StopsInsideOfMeasurements()
    train(specs, corpus, tmp_path, watcher=stopped)
    assert stopped.points == []
    assert stopped.outcomes == {}
    resumed = train(specs, corpus, tmp_path)
    for name in ("0", "1"):
        assert resumed.progress.get(name, []) == [step * STEP_TOKENS for step in range(5, steps + 1)]
        assert without_times(resumed.result(name)) == without_times(undisturbed.result(name))
