"""Batches on a real Ray cluster of several nodes on this machine, with a node killed in the middle."""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from proxy_training.checkpoint import CheckpointPolicy, Checkpoints
from proxy_training.corpus_read import Corpus
from proxy_training.engines import ray_cluster, ray_engine
from proxy_training.engines.base import EngineOptions
from proxy_training.engines.in_process import InProcessEngine
from proxy_training.engines.ray_cluster import Node, describe, room
from proxy_training.engines.ray_engine import RayEngine, gpu_share
from proxy_training.errors import CorpusError, ProxyError, SpecError
from proxy_training.spec import ModelSpec, ProxySettings, ProxySpec
from proxy_training.work import Assignment, Failure
from tests.proxy_training.text_corpora import make_corpus, texts
from tests.proxy_training.training_cases import STEP_TOKENS, Recorder, run_of, some_runs, tiny_settings
from tests.waiting import descendants_of, soon

LONG = 1_000_000  # steps: more than a test waits for
# A dead node is told by a few connections that are refused; a busy one answers late, which is no failure.
HEALTH = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 300, "health_check_failure_threshold": 8}
NODE = {"object_store_memory": 80_000_000, "include_dashboard": False}

pytestmark = [
    # Ray's own: files that it leaves to the garbage collector, and what it will do otherwise one day.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:.*:FutureWarning:ray"),
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:ray"),
]
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed (extra 'ray')")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder: Path = tmp_path_factory.mktemp("ray_engine")
    return make_corpus(folder, {"a": texts(0, 30), "b": texts(1, 30)}, context=16, validation_fraction=0.2)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that trains nothing and a node with two CPUs."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    before, handler = descendants_of(os.getpid()), signal.getsignal(signal.SIGTERM)
    # Paths of sockets must be short; pytest's folders are not.
    folder = tempfile.mkdtemp(prefix="mixray", dir="/tmp")
    try:
        head = {"num_cpus": 0, "temp_dir": folder, "_system_config": HEALTH}
        made = Cluster(initialize_head=True, head_node_args={**head, **NODE})
        made.add_node(num_cpus=2, **NODE)
        yield made
        made.shutdown()
    finally:
        for pid in descendants_of(os.getpid()).keys() - before.keys():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        shutil.rmtree(folder, ignore_errors=True)
        signal.signal(signal.SIGTERM, handler)  # the nodes have put theirs in its place


@pytest.fixture(scope="module")
def engine(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayEngine]:
    """Keeps checkpoints where all nodes see them."""
    policy = CheckpointPolicy(Checkpoints(tmp_path_factory.mktemp("spool")), every_seconds=0.3)
    made = RayEngine(EngineOptions(policy=policy, address=cluster.address))
    yield made
    made.close()  # before the cluster goes


def assigned(specs: Sequence[ProxySpec]) -> list[Assignment]:
    return [Assignment(str(spec.seed), spec) for spec in specs]


def alone(corpus: Corpus, specs: Sequence[ProxySpec]) -> Recorder:
    """What the engine without a cluster says of them."""
    watcher = Recorder()
    InProcessEngine(EngineOptions()).train(assigned(specs), corpus.folder, watcher)
    return watcher


class Batches:
    """Several batches at the same time, as the slots of an agent train them."""

    def __init__(self, engine: RayEngine, corpus: Corpus) -> None:
        self._engine, self._corpus = engine, corpus
        self._threads = ThreadPoolExecutor()
        self._futures: list[Future[None]] = []

    def start(self, specs: Sequence[ProxySpec], watcher: Recorder) -> Recorder:
        self._futures.append(self._threads.submit(self._engine.train, assigned(specs), self._corpus.folder, watcher))
        return watcher

    def wait(self) -> None:
        for future in self._futures:
            future.result(timeout=200)


@pytest.fixture
def batches(engine: RayEngine, corpus: Corpus) -> Batches:
    return Batches(engine, corpus)


# --- a cluster -----------------------------------------------------------------------------------------------------


@needs_ray
@pytest.mark.slow
def test_a_swarm_ends_with_the_losses_of_the_engine_in_process_and_each_once_though_a_node_is_killed(
    engine: RayEngine, batches: Batches, cluster: Any, corpus: Corpus
) -> None:
    assert engine.device.startswith("ray cluster: 2 nodes, 2 CPUs")
    assert engine.slots == 2
    doomed = cluster.add_node(num_cpus=1, **NODE)
    assert soon(lambda: engine.slots == 3)
    # Longer than news takes to arrive, and different: equal ones would go on from each other's checkpoints.
    swarms = [some_runs(corpus, count, steps=1000 - count, measure_at_tokens=(STEP_TOKENS,)) for count in (1, 2, 3)]
    watchers = [batches.start(specs, Recorder()) for specs in swarms]
    # All three are under way, so that one of them is on the node.
    assert soon(lambda: all(watcher.points for watcher in watchers), 120)
    cluster.remove_node(doomed, allow_graceful=False)
    batches.wait()
    assert soon(lambda: engine.slots == 2)
    for specs, watcher in zip(swarms, watchers, strict=True):
        expected = alone(corpus, specs)
        # A recorder that hears of an end twice fails by itself.
        assert set(watcher.outcomes) == set(expected.outcomes)
        for name in expected.outcomes:
            assert watcher.result(name).losses == expected.result(name).losses
            assert watcher.result(name).trajectory == expected.result(name).trajectory
            assert watcher.progress[name] == sorted(set(watcher.progress[name]))
            assert watcher.progress[name][-1] == expected.progress[name][-1]
        assert sorted(name for name, _ in watcher.points) == sorted(expected.outcomes)


@needs_ray
@pytest.mark.slow
def test_a_stop_ends_batches_under_way_and_those_that_wait(engine: RayEngine, batches: Batches, corpus: Corpus) -> None:
    stop = threading.Event()
    watchers = [Recorder() for _ in range(3)]  # one more than there is room for
    for watcher in watchers:
        watcher.stopping = stop.is_set
        batches.start(some_runs(corpus, 2, steps=LONG), watcher)
    assert soon(lambda: sum(bool(watcher.progress) for watcher in watchers) == 2, 120)
    stop.set()
    batches.wait()
    assert [watcher.outcomes for watcher in watchers] == [{}, {}, {}]
    after = some_runs(corpus, 1, steps=3)
    assert batches.start(after, Recorder()) is not None
    batches.wait()


@needs_ray
@pytest.mark.slow
def test_a_run_that_nobody_wants_ends_without_an_outcome(batches: Batches, corpus: Corpus) -> None:
    watcher = batches.start(some_runs(corpus, 2, steps=LONG), Recorder(drop={"0": STEP_TOKENS, "1": STEP_TOKENS}))
    batches.wait()
    assert watcher.outcomes == {}
    assert watcher.progress["0"][-1] < LONG * STEP_TOKENS


@needs_ray
@pytest.mark.slow
def test_a_run_that_does_not_fit_fails_alone_and_unequal_runs_are_no_batch(
    engine: RayEngine, batches: Batches, corpus: Corpus
) -> None:
    settings = tiny_settings(corpus, steps=3)
    watcher = batches.start([run_of(settings, {"a": 1.0}, 0), run_of(settings, {"poetry": 1.0}, 1)], Recorder())
    batches.wait()
    assert watcher.result("0").status == "succeeded"
    outcome = watcher.outcomes["1"]
    assert isinstance(outcome, Failure)
    assert "'poetry'" in outcome.reason
    unequal = [*some_runs(corpus, 1, steps=3), *some_runs(corpus, 1, steps=4)]
    with pytest.raises(SpecError, match="equal settings"):
        engine.train(assigned(unequal), corpus.folder, Recorder())


@needs_ray
@pytest.mark.slow
def test_a_folder_that_one_node_lacks_is_tried_on_the_next_one(
    engine: RayEngine, cluster: Any, corpus: Corpus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = cluster.add_node(num_cpus=1, **NODE)
    assert soon(lambda: engine.slots == 3)
    lacking = tmp_path / "not mounted"
    watcher = Recorder()
    with caplog.at_level(logging.WARNING, ray_engine.__name__), pytest.raises(CorpusError) as raised:
        engine.train(assigned(some_runs(corpus, 1)), lacking, watcher)
    assert str(lacking) in str(raised.value)
    assert str(raised.value).startswith("node ")
    # Each of the two nodes has been tried, none of them twice.
    ours = [record.getMessage() for record in caplog.records if record.name == ray_engine.__name__]
    assert [message.endswith("another one is tried") for message in ours] == [True]
    assert watcher.outcomes == {}
    cluster.remove_node(other, allow_graceful=False)
    assert soon(lambda: engine.slots == 2)


@needs_ray
@pytest.mark.slow
def test_a_corpus_of_another_hash_in_the_same_place_is_refused(
    engine: RayEngine, corpus: Corpus, tmp_path: Path
) -> None:
    other = make_corpus(tmp_path, {"a": texts(2, 30), "b": texts(3, 30)}, context=16, validation_fraction=0.2)
    with pytest.raises(CorpusError, match=f"hash {other.corpus_hash}, the runs are for {corpus.corpus_hash}"):
        engine.train(assigned(some_runs(corpus, 1)), other.folder, Recorder())


@needs_ray
@pytest.mark.slow
def test_a_node_without_the_program_that_measures_is_refused_before_anything_is_trained(
    engine: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = make_corpus(tmp_path, {"a": texts(0, 30), "b": texts(1, 30)}, context=16, validation_fraction=0.2)
    told = dataclasses.replace(engine._options, metrics_command="no-such-program {model} {out}")
    monkeypatch.setattr(engine, "_options", told)
    watcher = Recorder()
    with pytest.raises(ProxyError, match=r"^node .* cannot train: the program 'no-such-program' .* is not there"):
        engine.train(assigned(some_runs(corpus, 1)), corpus.folder, watcher)
    assert watcher.progress == {}
    assert watcher.outcomes == {}


@needs_ray
@pytest.mark.slow
def test_batches_for_gpus_share_one_and_are_refused_where_torch_finds_none(
    engine: RayEngine, cluster: Any, corpus: Corpus
) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has the GPU that must be missing")
    pretended = cluster.add_node(num_cpus=3, num_gpus=1, **NODE)
    assert soon(lambda: engine.device.endswith("1 GPU"))
    assert engine.slots == 1
    with pytest.raises(ProxyError, match="Ray counts a GPU on it, but its PyTorch finds none"):
        engine.train(assigned(some_runs(corpus, 1)), corpus.folder, Recorder())
    assert engine.slots == 3  # a quarter of the GPU each, and a CPU
    cluster.remove_node(pretended, allow_graceful=False)
    assert soon(lambda: engine.slots == 2)


@needs_ray
@pytest.mark.slow
def test_a_head_that_falls_silent_ends_the_batch_with_a_sentence(
    engine: RayEngine, batches: Batches, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = batches.start(some_runs(corpus, 1, steps=LONG), Recorder())
    assert soon(lambda: bool(watcher.progress), 120)
    [head] = [pid for pid, command in descendants_of(os.getpid()).items() if "/gcs_server " in command]
    monkeypatch.setattr(ray_cluster, "_SILENCE_SECONDS", 4.0)
    os.kill(head, signal.SIGSTOP)
    try:
        with pytest.raises(ProxyError, match="is gone: its head has not answered"):
            batches.wait()
        with pytest.raises(ProxyError, match="is gone"):
            _ = engine.slots
    finally:
        os.kill(head, signal.SIGCONT)
    assert watcher.outcomes == {}
    assert soon(lambda: _answers(engine))


def _answers(engine: RayEngine) -> bool:
    try:
        return engine.slots == 2
    except ProxyError:
        return False


# --- addresses -----------------------------------------------------------------------------------------------------


def engine_at(address: str | None) -> RayEngine:
    return RayEngine(EngineOptions(address=address))


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ProxyError, match="install Mixwright with its extra ray"):
        engine_at("auto")


def test_without_an_address_the_choices_are_named() -> None:
    with pytest.raises(ProxyError, match=r"needs --address: HOST:PORT of a cluster, auto .* or local"):
        engine_at(None)


def test_a_trainer_of_ones_own_is_for_another_engine() -> None:
    with pytest.raises(ProxyError, match="no use for --command"):
        RayEngine(EngineOptions(address="auto", command="python my_train.py"))


@needs_ray
def test_an_address_where_nobody_listens_is_one_sentence() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(ProxyError, match=f"no Ray cluster answers at {address}: .*refused"):
            engine_at(address)


@needs_ray
@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("nonsense", "'nonsense' is no address of a Ray cluster; write HOST:PORT, auto or local"),
        ("host:port", "'host:port' is no address"),
        ("127.0.0.1:99999", "no Ray cluster answers at 127.0.0.1:99999"),
        ("ray://10.0.0.1:10001", "must run on a node of its Ray cluster"),
    ],
)
def test_an_address_that_is_none_says_what_one_looks_like(address: str, words: str) -> None:
    with pytest.raises(ProxyError, match=words):
        engine_at(address)


# --- what has room -------------------------------------------------------------------------------------------------


def node(cpus: float, gpus: float = 0.0, *kinds: str) -> Node:
    return Node("id", "10.0.0.1", cpus, gpus, 2**34, kinds)


def test_there_is_room_for_a_batch_a_cpu_and_on_gpus_for_what_shares_them() -> None:
    assert room([node(0), node(4), node(2.5)], 0.0) == 6
    assert room([node(32, 2), node(8)], 1.0) == 2
    assert room([node(32, 2), node(8)], 0.25) == 8
    assert room([node(3, 2)], 0.25) == 3  # a CPU each
    assert room([], 0.5) == 0


def test_a_cluster_is_told_in_one_line() -> None:
    nodes = [node(0), node(8, 2, "H100"), node(4)]
    assert describe(nodes) == "ray cluster: 3 nodes, 12 CPUs, 2 GPUs (H100)"
    assert describe([node(1)]) == "ray cluster: 1 node, 1 CPU"


def test_small_stacks_share_a_gpu_and_large_ones_do_not() -> None:
    def share(preset: str, stack: int, **model: int) -> float:
        shape = ModelSpec.model_validate({"preset": preset, **model})
        return gpu_share(ProxySettings(corpus_hash="corpus", model=shape, train_tokens=10**6), stack)

    assert share("0.03M", 32) == 0.25
    assert share("1M", 4) == 0.5
    assert share("60M", 1) == 1.0
    # Small, but a large vocabulary takes the memory: the estimate of stack_size.py decides.
    assert share("0.03M", 1, vocab_size=150_000) == 0.25
    assert share("0.03M", 64, vocab_size=150_000) == 1.0
