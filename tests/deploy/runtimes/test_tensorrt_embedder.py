"""The control flow of the TensorRT runtime: TensorRT and CUDA are stand-ins, no GPU runs.

tests/stand_ins/tensorrt_runtime.py says what they do; test_engines_on_gpu.py does the same on
a real GPU.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorrt_runtime import DIM, FLOAT, HALF, UINT8, FakeCuda, FakeTrt, known, random_images

import deploy.runtimes.cuda
import deploy.runtimes.tensorrt
from deploy.bundle import Bundle, read_bundle
from deploy.runtimes.cuda import Cuda
from deploy.runtimes.tensorrt import TensorRtEmbedder
from deploy.tensorrt import EngineFile, Profile
from deploy.tensorrt.files import write_engine
from deploy.tensorrt.key import EngineKey
from toolkit.embedding import Embedder
from toolkit.errors import MismatchError, MissingError, VrError


def engine_file(bundle: Bundle, profile: Profile, plan: bytes = b"a plan") -> EngineFile:
    key = EngineKey(
        bundle.onnx_sha256, "tensorrt", "11.4.0", "13", "sm90", "H200", "fp32", profile, None
    )
    return write_engine(bundle.engines / f"{key.stem}.plan", key, plan, {})


class Rig:
    """A bundle, an engine of it, and the two stand-ins."""

    def __init__(
        self, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, *, lazy: bool = True
    ) -> None:
        self.bundle, self.monkeypatch = bundle, monkeypatch
        self.cuda = FakeCuda(lazy=lazy)
        self.trt = FakeTrt(self.cuda, Profile())

    def open(self, profile: Profile = Profile(1, 4, 8), *, fixed: bool = False) -> TensorRtEmbedder:  # noqa: B008
        self.trt = FakeTrt(self.cuda, profile, fixed=fixed)
        return self.reopen(engine_file(self.bundle, profile))

    def reopen(self, engine: EngineFile) -> TensorRtEmbedder:
        patch = self.monkeypatch.setattr
        patch(deploy.runtimes.tensorrt, "require", lambda name: self.trt)
        patch(deploy.runtimes.cuda, "require", lambda name: None)
        patch(deploy.runtimes.cuda, "import_module", lambda name: self.cuda)
        return TensorRtEmbedder(self.bundle, engine)

    @property
    def held(self) -> int:
        """Pieces of memory and streams that were not given back."""
        return len(self.cuda.host) + len(self.cuda.device) + len(self.cuda.streams)


@pytest.fixture(params=["lazy", "eager"])
def rig(request: pytest.FixtureRequest, own_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(read_bundle(own_bundle), monkeypatch, lazy=request.param == "lazy")


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 16, 17, 24, 53])
def test_any_batch_in_order(count: int, rig: Rig) -> None:
    embedder = rig.open()
    images = random_images(count)
    rig.trt.batches.clear()
    found = embedder.embed(images)
    assert (found.shape, found.dtype) == ((count, DIM), np.float32)
    np.testing.assert_array_equal(found, known(images))
    full, rest = divmod(count, 8)
    assert rig.trt.batches == [8] * full + [rest] * bool(rest)


def test_no_images_give_no_rows(rig: Rig) -> None:
    embedder = rig.open()
    rig.trt.batches.clear()
    found = embedder.embed(np.zeros((0, 32, 32, 3), np.uint8))
    assert (found.shape, found.dtype, rig.trt.batches) == ((0, DIM), np.float32, [])


@pytest.mark.parametrize("count", [1, 3, 4, 11, 13])
def test_too_few_are_filled_up(count: int, rig: Rig) -> None:
    embedder = rig.open(Profile(4, 4, 6))
    rig.trt.batches.clear()
    np.testing.assert_array_equal(embedder.embed(random_images(count)), known(random_images(count)))
    assert all(4 <= batch <= 6 for batch in rig.trt.batches)


def test_a_fixed_batch(rig: Rig) -> None:
    embedder = rig.open(Profile(4, 4, 4), fixed=True)
    rig.trt.batches.clear()
    np.testing.assert_array_equal(embedder.embed(random_images(6)), known(random_images(6)))
    assert rig.trt.batches == [4, 4]


def test_a_view_that_is_not_contiguous(rig: Rig) -> None:
    images = random_images(12)[::-2, :, ::-1]
    np.testing.assert_array_equal(rig.open().embed(images), known(images))


def test_what_was_returned_stays(rig: Rig) -> None:
    """It is no view of a buffer that the next call fills."""
    embedder = rig.open()
    first = embedder.embed(random_images(5))
    embedder.embed(random_images(6))
    np.testing.assert_array_equal(first, known(random_images(5)))


def test_copying_and_computing_overlap(own_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two streams have work in them at once, where there are two chunks; never three."""
    rig = Rig(read_bundle(own_bundle), monkeypatch, lazy=True)
    embedder = rig.open()
    rig.cuda.most_in_flight = 0
    embedder.embed(random_images(8))
    assert rig.cuda.most_in_flight == 1
    embedder.embed(random_images(40))
    assert rig.cuda.most_in_flight == 2


def test_the_kernels_are_warm_before_the_first_picture(rig: Rig) -> None:
    rig.open(Profile(2, 4, 8))
    assert rig.trt.batches == [2, 2]
    assert not any(rig.cuda.streams.values())


def test_threads_may_share_one_object(rig: Rig) -> None:
    embedder = rig.open()
    with ThreadPoolExecutor(4) as pool:
        for count, found in enumerate(
            pool.map(lambda n: embedder.embed(random_images(n)), range(30))
        ):
            np.testing.assert_array_equal(found, known(random_images(count)))
        # Which GPU is a choice of each thread.
        pool.submit(lambda: embedder.embed(random_images(1))).result()
    assert len(rig.cuda.threads) > 1


def test_it_is_an_embedder_and_says_what_it_is(rig: Rig) -> None:
    embedder = rig.open()
    assert isinstance(embedder, Embedder)
    assert embedder.runtime == "tensorrt fp32 cuda"
    assert embedder.card == rig.bundle.card
    assert embedder.engine.key.profile == Profile(1, 4, 8)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 32, 32, 3), np.float32),
        np.zeros((2, 32, 31, 3), np.uint8),
        np.zeros((2, 3, 32, 32), np.uint8),
        np.zeros((32, 32, 3), np.uint8),
    ],
)
def test_another_type_or_size_is_refused(images: Any, rig: Rig) -> None:
    with pytest.raises(ValueError, match="fit_batch"):
        rig.open().embed(images)


def test_close_gives_everything_back(rig: Rig) -> None:
    embedder = rig.open()
    assert rig.held == 10
    embedder.embed(random_images(20))
    assert rig.held == 10
    embedder.close()
    embedder.close()
    assert rig.held == 0
    with pytest.raises(RuntimeError, match="closed"):
        embedder.embed(random_images(1))


@pytest.mark.parametrize("works", range(4))
@pytest.mark.parametrize("call", ["cudaMalloc", "cudaHostAlloc"])
def test_a_gpu_without_memory_is_said_and_nothing_stays(call: str, works: int, rig: Rig) -> None:
    rig.cuda.fails, rig.cuda.fails_after = {call: 2}, {call: works}
    with pytest.raises(VrError, match="no memory left") as caught:
        rig.open()
    assert "smaller maximal batch" in caught.value.mend
    assert rig.held == 0


@pytest.mark.parametrize("contexts", [0, 1])
def test_a_gpu_without_memory_for_a_context_is_said(contexts: int, rig: Rig) -> None:
    rig.trt = FakeTrt(rig.cuda, Profile())
    rig.trt.contexts = contexts
    with pytest.raises(VrError, match="no memory left"):
        rig.reopen(engine_file(rig.bundle, Profile()))
    assert rig.held == 0


@pytest.mark.parametrize("status", [35, 100])
def test_cuda_that_cannot_start_is_missing(status: int, rig: Rig) -> None:
    rig.cuda.fails = {"cudaSetDevice": status}
    with pytest.raises(MissingError, match=f"CUDA cannot start: status {status}"):
        rig.open()


def test_a_failing_call_is_named(rig: Rig) -> None:
    rig.cuda.fails = {"cudaStreamCreateWithFlags": 999}
    with pytest.raises(RuntimeError, match="cudaStreamCreateWithFlags failed: status 999"):
        rig.open()
    assert rig.held == 0


def test_without_the_bindings_their_extra_is_named(
    own_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib

    def refuse(name: str) -> Any:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(MissingError, match="needs the package cuda") as caught:
        Cuda.open()
    assert "vr-toolkit[trt]" in caught.value.mend


def test_a_run_that_fails_leaves_an_embedder_that_works(rig: Rig) -> None:
    """The chunk before the failing one is still on its way."""
    embedder = rig.open()
    rig.trt.broken_at = 3
    with pytest.raises(RuntimeError, match="did not run a batch of 3"):
        embedder.embed(random_images(19))
    assert not any(rig.cuda.streams.values())
    np.testing.assert_array_equal(embedder.embed(random_images(9)), known(random_images(9)))


def test_an_engine_that_does_not_run_is_said_on_opening(rig: Rig) -> None:
    profile = Profile(1, 4, 8)
    rig.trt = FakeTrt(rig.cuda, profile)
    rig.trt.broken_at = 1
    with pytest.raises(RuntimeError, match="did not run a batch of 1"):
        rig.reopen(engine_file(rig.bundle, profile))
    assert rig.held == 0


def test_a_plan_that_tensorrt_refuses_is_a_mismatch(rig: Rig) -> None:
    engine = engine_file(rig.bundle, Profile(), b"another plan")
    with pytest.raises(MismatchError, match="the magic number is wrong") as caught:
        rig.reopen(engine)
    assert "vr export --trt" in caught.value.mend


def test_a_damaged_plan_is_a_mismatch(rig: Rig) -> None:
    engine = engine_file(rig.bundle, Profile())
    engine.path.write_bytes(b"a pl")
    with pytest.raises(MismatchError, match="damaged"):
        rig.reopen(engine)


@pytest.mark.parametrize(
    "tensors",
    [
        {"images": (UINT8, (-1, 32, 32, 3)), "embeddings": (FLOAT, (-1, DIM + 1))},
        {"images": (UINT8, (-1, 64, 64, 3)), "embeddings": (FLOAT, (-1, DIM))},
        {"images": (FLOAT, (-1, 32, 32, 3)), "embeddings": (FLOAT, (-1, DIM))},
        {"images": (UINT8, (-1, 32, 32, 3)), "embeddings": (HALF, (-1, DIM))},
        {"images": (UINT8, (-1, 32, 32, 3)), "logits": (FLOAT, (-1, DIM))},
        {"images": (UINT8, (-1, 32, 32, 3))},
        {"images": (UINT8, (8, 32, 32, 3)), "embeddings": (FLOAT, (8, DIM))},
    ],
    ids=["dim", "size", "float", "half", "name", "one", "fixed"],
)
def test_the_engine_of_another_network_is_a_mismatch(tensors: Any, rig: Rig) -> None:
    """Buffers are as large as the card says: whatever else would be written past their end."""
    rig.trt = FakeTrt(rig.cuda, Profile())
    rig.trt.tensors = tensors
    with pytest.raises(MismatchError, match="no engine of this bundle"):
        rig.reopen(engine_file(rig.bundle, Profile()))


def test_an_engine_of_another_profile_is_a_mismatch(rig: Rig) -> None:
    rig.trt = FakeTrt(rig.cuda, Profile(1, 1, 2))
    with pytest.raises(MismatchError, match="other batches than 1/32/128"):
        rig.reopen(engine_file(rig.bundle, Profile()))


def test_the_real_bindings_without_a_driver() -> None:
    """NVIDIA's package as it is installed: it imports, and says what is missing."""
    pytest.importorskip("cuda.bindings")
    from toolkit.machine.cuda import list_gpus

    if list_gpus():
        pytest.skip("this machine has a GPU")
    with pytest.raises(MissingError, match=r"CUDA cannot start: .*driver") as caught:
        Cuda.open()
    assert "--runtime onnx" in caught.value.mend


def test_the_real_bindings_take_these_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a driver each call fails, but not over its arguments."""
    runtime = pytest.importorskip("cuda.bindings.runtime")
    from toolkit.machine.cuda import list_gpus

    if list_gpus():
        pytest.skip("this machine has a GPU")
    monkeypatch.setattr(Cuda, "use", lambda self: None)
    cuda, memory, stream = Cuda(runtime), np.zeros(4, np.float32), runtime.cudaStream_t(0)
    assert int(stream) == 0
    with ExitStack() as resources:
        for call in (
            lambda: cuda.stream(resources),
            lambda: cuda.device_memory(16, resources),
            lambda: cuda.pinned((4,), np.float32, resources),
            lambda: cuda.upload(memory, 1 << 20, stream),
            lambda: cuda.download(1 << 20, memory, stream),
            lambda: cuda.wait(stream),
        ):
            with pytest.raises(MissingError, match="driver version is insufficient"):
                call()
    for free, argument in (
        ("cudaStreamDestroy", stream),
        ("cudaFree", 1 << 20),
        ("cudaFreeHost", 1 << 20),
    ):
        assert getattr(runtime, free)(argument) == (
            runtime.cudaError_t.cudaErrorInsufficientDriver,
        )
