"""TensorRT's runtime and CUDA, imitated: no GPU runs.

The stand-in of CUDA keeps "GPU" memory in the main memory and checks every copy against what
is allocated. It does what is queued in a stream either at once or only when somebody waits
for the stream, so that a buffer that is reused too early, or read too early, shows. The
engine computes `known`.
"""

import ctypes
import threading
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.tensorrt import Profile

DIM = 24
UINT8, FLOAT, HALF = "uint8", "float", "half"


def known(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the engine of the stand-in computes: every number depends on all of a picture."""
    flat = images.reshape(len(images), 32 * 32 * 3).astype(np.float32)
    sums = np.stack([flat[:, start::DIM].sum(axis=1) for start in range(DIM)], axis=1)
    return (sums / np.linalg.norm(sums + 1, axis=1, keepdims=True)).astype(np.float32)


def random_images(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


class FakeCuda(ModuleType):
    """The calls of cuda.bindings.runtime that are used, with the tuples that they return."""

    cudaStreamNonBlocking, cudaHostAllocDefault = 1, 0  # noqa: N815
    cudaMemcpyKind = SimpleNamespace(  # noqa: N815
        cudaMemcpyHostToDevice="up", cudaMemcpyDeviceToHost="down"
    )
    cudaError_t = SimpleNamespace(  # noqa: N815
        cudaSuccess=0,
        cudaErrorMemoryAllocation=2,
        cudaErrorInsufficientDriver=35,
        cudaErrorNoDevice=100,
    )

    def __init__(self, *, lazy: bool) -> None:
        super().__init__("cuda.bindings.runtime")
        self.lazy = lazy
        self.host: dict[int, NDArray[np.uint8]] = {}
        self.device: dict[int, NDArray[np.uint8]] = {}
        self.streams: dict[int, list[Callable[[], None]]] = {}
        self.fails: dict[str, int] = {}  # call to status
        self.fails_after: dict[str, int] = {}  # call to how often it works before
        self.most_in_flight = 0
        self.threads: set[int] = set()

    def _status(self, call: str) -> int:
        left = self.fails_after.get(call, 0)
        self.fails_after[call] = left - 1
        return self.fails.get(call, 0) if left <= 0 else 0

    def queue(self, stream: int, work: Callable[[], None]) -> None:
        self.streams[stream].append(work)
        self.most_in_flight = max(self.most_in_flight, sum(map(bool, self.streams.values())))
        if not self.lazy:
            self._drain(stream)

    def _drain(self, stream: int) -> None:
        while self.streams[stream]:
            self.streams[stream].pop(0)()

    def cudaSetDevice(self, device: int) -> tuple[int]:  # noqa: N802
        assert device == 0
        self.threads.add(threading.get_ident())
        return (self._status("cudaSetDevice"),)

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[int, Any]:  # noqa: N802
        assert flags == self.cudaStreamNonBlocking
        status, stream = self._status("cudaStreamCreateWithFlags"), 1000 + len(self.streams)
        if not status:
            self.streams[stream] = []
        return status, None if status else stream

    def cudaStreamDestroy(self, stream: int) -> tuple[int]:  # noqa: N802
        assert self.streams.pop(stream) == [], "destroyed under its work"
        return (0,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[int]:  # noqa: N802
        self._drain(stream)
        return (self._status("cudaStreamSynchronize"),)

    def _allocate(self, where: dict[int, Any], size: int, call: str) -> tuple[int, Any]:
        status = self._status(call)
        if status:
            return status, None
        memory = np.full(size, 0xAB, np.uint8)
        where[memory.ctypes.data] = memory
        return 0, memory.ctypes.data

    def cudaMalloc(self, size: int) -> tuple[int, Any]:  # noqa: N802
        return self._allocate(self.device, size, "cudaMalloc")

    def cudaHostAlloc(self, size: int, flags: int) -> tuple[int, Any]:  # noqa: N802
        return self._allocate(self.host, size, "cudaHostAlloc")

    def cudaFree(self, address: int) -> tuple[int]:  # noqa: N802
        assert not any(self.streams.values()), "freed under the GPU"
        del self.device[address]
        return (0,)

    def cudaFreeHost(self, address: int) -> tuple[int]:  # noqa: N802
        assert not any(self.streams.values()), "freed under the GPU"
        del self.host[address]
        return (0,)

    def cudaMemcpyAsync(  # noqa: N802
        self, target: int, source: int, size: int, kind: str, stream: int
    ) -> tuple[int]:
        to, origin = (self.device, self.host) if kind == "up" else (self.host, self.device)

        def copy() -> None:
            assert size <= to[target].nbytes
            assert size <= origin[source].nbytes
            ctypes.memmove(target, source, size)

        status = self._status("cudaMemcpyAsync")
        if not status:
            self.queue(stream, copy)
        return (status,)

    def cudaGetErrorString(self, status: int) -> tuple[int, bytes]:  # noqa: N802
        return 0, f"status {status}".encode()


class FakeTrt(ModuleType):
    """The runtime's half of TensorRT: one engine that computes `known`."""

    DataType = SimpleNamespace(UINT8=UINT8, FLOAT=FLOAT)

    class ILogger:
        INTERNAL_ERROR, ERROR = "internal", "error"

    def __init__(self, cuda: FakeCuda, profile: Profile, *, fixed: bool = False) -> None:
        super().__init__("tensorrt")
        self.__version__ = "11.4.0"
        self.cuda, self.profile = cuda, profile
        batch = profile.max if fixed else -1
        self.tensors = {
            "images": (UINT8, (batch, 32, 32, 3)),
            "embeddings": (FLOAT, (batch, DIM)),
        }
        self.batches: list[int] = []
        self.contexts = 2  # that the memory of the GPU does for
        self.broken_at: int | None = None  # the batch that the engine does not run

    def Runtime(self, logger: Any) -> Any:  # noqa: N802
        def deserialize(plan: bytes) -> Any:
            if plan == b"a plan":
                return FakeEngine(self)
            logger.log("error", "the magic number is wrong")
            return None

        return SimpleNamespace(deserialize_cuda_engine=deserialize)


class FakeEngine:
    def __init__(self, trt: FakeTrt) -> None:
        self.trt = trt
        self.num_io_tensors = len(trt.tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self.trt.tensors)[index]

    def get_tensor_dtype(self, name: str) -> str:
        return self.trt.tensors[name][0]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.trt.tensors[name][1]

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
        assert (name, profile) == ("images", 0)
        batches = (self.trt.profile.min, self.trt.profile.opt, self.trt.profile.max)
        return [(batch, 32, 32, 3) for batch in batches]

    def create_execution_context(self) -> Any:
        self.trt.contexts -= 1
        return FakeContext(self.trt) if self.trt.contexts >= 0 else None


class FakeContext:
    def __init__(self, trt: FakeTrt) -> None:
        self.trt, self.addresses = trt, {}
        self.batch = 0

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return name in self.trt.tensors

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert (name, shape[1:]) == ("images", (32, 32, 3))
        self.batch = shape[0]
        return self.trt.profile.min <= self.batch <= self.trt.profile.max

    def execute_async_v3(self, stream: int) -> bool:
        if self.trt.broken_at == self.batch:
            return False
        self.trt.batches.append(self.batch)
        batch, where = self.batch, dict(self.addresses)

        def run() -> None:
            memory = self.trt.cuda.device
            size = batch * 32 * 32 * 3
            images = memory[where["images"]][:size].reshape(batch, 32, 32, 3)
            memory[where["embeddings"]][: batch * DIM * 4] = known(images).view(np.uint8).ravel()

        self.trt.cuda.queue(stream, run)
        return True
