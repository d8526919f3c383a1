"""One stream through an engine: a chunk of pictures is copied in, embedded, and copied out."""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.onnx.make import INPUT, OUTPUT
from deploy.runtimes.cuda import Cuda
from deploy.tensorrt.loading import make_context
from deploy.tensorrt.settings import Profile
from toolkit.embedding import Embeddings


@dataclass(frozen=True, slots=True)
class LaneShape:
    """What goes through: batches of `profile`, pictures of (height, width, 3), `dim` numbers."""

    profile: Profile
    picture: tuple[int, int, int]
    dim: int


class Lane:
    """An execution context with its own stream and buffers.

    `start` returns while the GPU works, so that two lanes overlap: while one computes, the
    other's pictures are copied. Its resources are given back by `resources`.
    """

    def __init__(self, engine: Any, cuda: Cuda, shape: LaneShape, resources: ExitStack) -> None:
        largest = shape.profile.max
        self._cuda, self._shape = cuda, shape
        self._context = make_context(engine)
        self._stream = cuda.stream(resources)
        self._images = cuda.pinned((largest, *shape.picture), np.uint8, resources)
        self._vectors = cuda.pinned((largest, shape.dim), np.float32, resources)
        self._input = cuda.device_memory(self._images.nbytes, resources)
        self._output = cuda.device_memory(self._vectors.nbytes, resources)
        self._context.set_tensor_address(INPUT, self._input)
        self._context.set_tensor_address(OUTPUT, self._output)

    def start(self, images: NDArray[np.uint8]) -> None:
        """Queue 1 to max pictures; what is missing to the profile's least batch is black."""
        count = len(images)
        batch = max(count, self._shape.profile.min)
        self._images[:count] = images
        self._images[count:batch] = 0
        self._cuda.upload(self._images[:batch], self._input, self._stream)
        if not self._context.set_input_shape(INPUT, (batch, *self._shape.picture)):
            raise RuntimeError(f"the engine refuses a batch of {batch}")
        if not self._context.execute_async_v3(int(self._stream)):
            raise RuntimeError(f"the engine did not run a batch of {batch}")
        self._cuda.download(self._output, self._vectors[:batch], self._stream)

    def finish(self) -> Embeddings:
        """Wait, and show what came out, (max, dim): valid up to the next `start`."""
        self._cuda.wait(self._stream)
        return self._vectors

    def close(self) -> None:
        """Let go of the context, before the engine and the buffers go."""
        self._context = None
