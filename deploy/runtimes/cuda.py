"""CUDA's memory and streams, through NVIDIA's own bindings; no torch.

Everything is allocated once and given back by whoever holds the ExitStack, in reverse.
"""

import ctypes
from contextlib import ExitStack
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.tensorrt.loading import NO_MEMORY
from toolkit.errors import MissingError, VrError
from toolkit.optional import require


class Cuda:
    """The few calls that a runtime needs, on the first GPU; their failures raise.

    runtime: the module cuda.bindings.runtime. Raises MissingError without a driver that
    serves it, VrError when memory runs out, RuntimeError for anything else.
    """

    def __init__(self, runtime: ModuleType) -> None:
        self._runtime = runtime
        self.use()

    @classmethod
    def open(cls) -> "Cuda":
        """With the bindings of this machine. Raises MissingError."""
        require("cuda.bindings")
        return cls(import_module("cuda.bindings.runtime"))

    def use(self) -> None:
        """Make the first GPU that of the calling thread: a choice that each thread has."""
        self._call("cudaSetDevice", 0)

    def stream(self, resources: ExitStack) -> Any:
        """A stream that does not wait for the default one; int() of it is its handle."""
        stream = self._call("cudaStreamCreateWithFlags", self._runtime.cudaStreamNonBlocking)
        resources.callback(self._call, "cudaStreamDestroy", stream)
        return stream

    def device_memory(self, size_bytes: int, resources: ExitStack) -> int:
        """Address of memory on the GPU."""
        address = int(self._call("cudaMalloc", size_bytes))
        resources.callback(self._call, "cudaFree", address)
        return address

    def pinned(
        self, shape: tuple[int, ...], dtype: type[np.generic], resources: ExitStack
    ) -> NDArray[Any]:
        """An array in page-locked memory, which the GPU copies while the CPU goes on.

        Neither it nor a view of it may be used once the resources are given back.
        """
        size_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        address = int(self._call("cudaHostAlloc", size_bytes, self._runtime.cudaHostAllocDefault))
        resources.callback(self._call, "cudaFreeHost", address)
        memory = (ctypes.c_uint8 * size_bytes).from_address(address)
        return np.ctypeslib.as_array(memory).view(dtype).reshape(shape)

    def upload(self, source: NDArray[Any], target: int, stream: Any) -> None:
        """Queue a copy of contiguous pinned memory to the GPU."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", target, source.ctypes.data, source.nbytes, kind, stream)

    def download(self, source: int, target: NDArray[Any], stream: Any) -> None:
        """Queue a copy from the GPU to contiguous pinned memory."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", target.ctypes.data, source, target.nbytes, kind, stream)

    def wait(self, stream: Any) -> None:
        """Until everything that was queued in the stream is done."""
        self._call("cudaStreamSynchronize", stream)

    def _call(self, name: str, *arguments: Any) -> Any:
        status, *results = getattr(self._runtime, name)(*arguments)
        errors = self._runtime.cudaError_t
        if status == errors.cudaSuccess:
            return results[0] if results else None
        if status == errors.cudaErrorMemoryAllocation:
            raise VrError("The GPU has no memory left for the engine.", mend=NO_MEMORY)
        if status in (errors.cudaErrorInsufficientDriver, errors.cudaErrorNoDevice):
            raise MissingError(
                f"CUDA cannot start: {self._text(status)}.",
                mend="Use --runtime onnx, or mend the NVIDIA driver (nvidia-smi shows it).",
            )
        raise RuntimeError(f"{name} failed: {self._text(status)}")

    def _text(self, status: Any) -> str:
        _, text = self._runtime.cudaGetErrorString(status)
        return text.decode() if isinstance(text, bytes) else str(text)
