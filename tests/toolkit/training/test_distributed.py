"""Several processes train what one does: gradients, statistics, draws; and who is who."""

import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from toolkit.errors import UsageError
from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.training.distributed import (
    ALONE,
    Process,
    Team,
    check_batch,
    current,
    joined,
    rows_of_each,
)
from toolkit.training.settings import TrainSettings
from toolkit.training.step import Trainer
from toolkit.training.union import Place, share_layers

WORKER = Path(__file__).with_name("one_of_several.py")
PLACE = {
    "RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1",
    "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1",
}  # fmt: skip


def worker():
    spec = importlib.util.spec_from_file_location("one_of_several", WORKER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CASES = list(worker().CASES)
FLOAT32 = worker().FLOAT32


GPU = pytest.param("cuda", marks=pytest.mark.gpu)


@pytest.fixture(scope="module", params=["cpu", GPU])
def device(request):
    if request.param == "cuda" and torch.cuda.device_count() < 2:
        pytest.skip("this machine has no two GPUs")
    return request.param


@pytest.fixture(scope="module")
def two(tmp_path_factory, device):
    """What two processes found."""
    return run_together(2, tmp_path_factory.mktemp("two"), device)


def run_together(world, folder, device):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = [
        subprocess.Popen(
            [sys.executable, str(WORKER), str(folder), device],
            env=os.environ
            | {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
            | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"},
        )
        for rank in range(world)
    ]
    try:
        assert [process.wait(timeout=120) for process in processes] == [0] * world
    finally:
        for process in processes:
            process.kill()
    return [torch.load(folder / f"{rank}.pt") for rank in range(world)]


@pytest.fixture(scope="module")
def one(device):
    """The same steps on one process."""
    return worker().steps_of(ALONE, device)


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_of_two_processes_is_that_of_one_on_the_whole_batch(one, two, case):
    whole = one[case]["gradients"]
    largest = max(float(gradient.abs().max()) for gradient in whole.values())
    assert largest > 1e-6  # a vanished gradient would prove nothing
    for rank in (0, 1):
        shared = two[rank]["steps"][case]["gradients"]
        assert shared.keys() == whole.keys()
        for name in whole:
            torch.testing.assert_close(shared[name], whole[name], rtol=0, atol=1e-8 * largest)


class Kinks(TorchDispatchMode):
    """Notes what goes into each ReLU and hinge, where a gradient is not steady."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kinked = function in (torch.ops.aten.relu.default, torch.ops.aten.clamp.default)
        if kinked and args[0].is_floating_point():
            self.seen.append(args[0].detach().double().flatten())
        return function(*args, **(kwargs or {}))


def gradients_and_kinks(case, kind):
    with Kinks() as kinks:
        gradients = worker().gradients_of(ALONE, *case, kind)
    return gradients, torch.cat(kinks.seen)


@pytest.mark.parametrize("case", FLOAT32)
def test_in_float32_the_gradient_is_that_of_one_process_to_1e_5(two, device, case):
    if device == "cuda":
        pytest.skip("a GPU rounds the products of float32 to fewer bits")
    exact, kinks = gradients_and_kinks(FLOAT32[case], "float64")
    whole, rounded = gradients_and_kinks(FLOAT32[case], "float32")
    # A ReLU that rounding turned would move single entries by up to 5 in 100.
    assert kinks.abs().min() > (kinks - rounded).abs().max()
    largest = max(float(gradient.abs().max()) for gradient in exact.values())
    for found in two:
        shared = found["float32"][case]
        assert shared.keys() == exact.keys()
        for name in exact:
            for alone in (whole[name], exact[name]):
                torch.testing.assert_close(shared[name], alone, rtol=0, atol=1e-5 * largest)


@pytest.mark.parametrize("case", CASES)
def test_losses_weights_and_statistics_are_those_of_one_process(one, two, case):
    for rank in (0, 1):
        shared = two[rank]["steps"][case]
        np.testing.assert_allclose(shared["losses"], one[case]["losses"], rtol=1e-9)
        # The names too: a checkpoint of several processes is one of a single process.
        assert shared["state"].keys() == one[case]["state"].keys()
        for name, tensor in one[case]["state"].items():
            torch.testing.assert_close(shared["state"][name], tensor, rtol=0, atol=1e-8)


@pytest.mark.parametrize("case", CASES)
def test_both_processes_end_with_the_same_bits(two, case):
    first, second = (found["steps"][case]["state"] for found in two)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("pairs", [2, 3, 5, 8])
def test_rows_are_gathered_in_order_and_own_ones_keep_their_gradient(two, pairs):
    expected = torch.arange(2.0 * pairs)[:, None].repeat(1, 3)
    cut = [2 * len(part) for part in np.array_split(np.arange(pairs), 2)]
    for rank, own in enumerate((slice(0, cut[0]), slice(cut[0], None))):
        rows, gradient = two[rank]["gathered"][pairs]
        assert torch.equal(rows, expected)
        assert torch.equal(gradient, expected[own] + 1)


def test_a_wish_to_stop_is_heard_by_all_after_the_same_step(two):
    assert [found["vote"] for found in two] == [3, 3]  # the step after it was said


def test_alone_nothing_is_sent():
    rows = torch.ones(4, 2, requires_grad=True)
    assert ALONE.gather_rows(rows, 4) is rows
    assert [ALONE.stop_asked(False), ALONE.stop_asked(True)] == [False, True]
    ALONE.wait()
    model = torch.nn.Linear(2, 2)
    assert ALONE.wrap(model) is model
    assert not torch.distributed.is_initialized()


@pytest.fixture
def environment(monkeypatch):
    for name in PLACE:
        monkeypatch.delenv(name, raising=False)

    def set_to(values):
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return set_to


def test_without_an_environment_this_is_the_only_process(environment):
    assert current() == Process(0, 1, 0)
    environment({"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "1"})  # some clusters always set them
    assert current() == Process(0, 1, 0)


def test_the_environment_says_which_process_this_is(environment):
    environment(PLACE)
    assert current() == Process(1, 2, 1)


@pytest.mark.parametrize("missing", list(PLACE))
def test_half_an_environment_is_refused(environment, missing):
    environment({name: value for name, value in PLACE.items() if name != missing})
    with pytest.raises(UsageError, match=f"but not {missing}:"), joined("cpu"):
        pass


@pytest.mark.parametrize("wrong", [{"RANK": "2"}, {"RANK": "-1"}, {"WORLD_SIZE": "two"}])
def test_a_senseless_environment_is_refused(environment, wrong):
    environment(PLACE | wrong)
    with pytest.raises(UsageError, match="no place among processes"):
        current()


@pytest.mark.parametrize(("pairs", "world"), [(1, 1), (5, 2), (7, 3), (8, 4), (4, 4)])
def test_rows_are_shared_out_as_array_split_does(pairs, world):
    parts = np.array_split(np.arange(pairs), world)
    assert rows_of_each(2 * pairs, world) == [2 * len(part) for part in parts]


def test_a_kind_of_batchnorm_that_is_not_known_is_refused():
    class Own(torch.nn.BatchNorm2d):
        pass

    network = torch.nn.Sequential(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), Own(4)))
    with pytest.raises(UsageError, match=r"0\.1 is a Own"):
        share_layers(network, Place())


def test_batchnorm_over_several_processes_is_not_compiled():
    settings = TrainSettings(size=32, dim=16, compile=True)
    network = EmbeddingNetwork("small", settings.preprocessing, 16)
    with pytest.raises(UsageError, match="compile is true"):
        Trainer(network, settings, "cpu", Team(Process(0, 2, 0)))


def test_a_batch_needs_a_pair_for_each_process():
    check_batch(3, 3)
    with pytest.raises(UsageError, match="batch_pairs is 2, too few for 3 processes"):
        check_batch(2, 3)
