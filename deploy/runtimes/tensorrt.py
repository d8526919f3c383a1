"""The Embedder that runs a bundle's TensorRT engine on an NVIDIA GPU. It never imports torch."""

from contextlib import ExitStack
from threading import Lock
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.bundle import Bundle
from deploy.onnx.make import INPUT, OUTPUT
from deploy.runtimes.cuda import Cuda
from deploy.runtimes.lane import Lane, LaneShape
from deploy.tensorrt.files import REBUILD, EngineFile
from deploy.tensorrt.fit import choose_engine
from deploy.tensorrt.loading import load_engine
from deploy.tensorrt.settings import Profile
from toolkit.embedding import Embeddings
from toolkit.errors import MismatchError
from toolkit.model_card import ModelCard
from toolkit.optional import require

_LANES = 2  # one computes while the other's pictures are copied


class TensorRtEmbedder:
    """Runs an engine of a bundle; many threads may share one object, one at a time runs.

    engine: which, None for the best that fits this machine. A batch of any size is cut into
    chunks of the engine's greatest and filled up to its least.

    Raises MissingError without a GPU, an engine, TensorRT or CUDA's bindings, MismatchError
    for an engine that is damaged, of another network, GPU or TensorRT, VrError when the
    GPU's memory does not do.
    """

    def __init__(self, bundle: Bundle, engine: EngineFile | None = None) -> None:
        engine = engine or choose_engine(bundle)
        trt = require(engine.key.target)
        cuda = Cuda.open()
        self._card = bundle.card
        self._engine = engine
        self._shape = _lane_shape(bundle, engine)
        self._lock = Lock()
        self._cuda = cuda
        with ExitStack() as resources:
            # Referred to up to the end: an engine needs its runtime, and that its logger.
            self._loaded: Any = load_engine(trt, engine.read_plan(), str(engine.path))
            _check_signature(trt, self._loaded[0], bundle, engine)
            self._lanes = [
                Lane(self._loaded[0], cuda, self._shape, resources) for _ in range(_LANES)
            ]
            self._warm_up()
            self._resources: ExitStack | None = resources.pop_all()

    @property
    def card(self) -> ModelCard:
        """The identity of the network."""
        return self._card

    @property
    def runtime(self) -> str:
        """For people, such as "tensorrt fp16 cuda" or "tensorrt_rtx fp32 cuda"."""
        return f"{self._engine.key.target} {self._engine.key.precision} cuda"

    @property
    def engine(self) -> EngineFile:
        """What is run."""
        return self._engine

    def embed(self, images: NDArray[np.uint8]) -> Embeddings:
        """uint8 (N, height, width, 3) of the card's size to float32 (N, dim); N may be 0.

        Raises ValueError for another dtype or shape, RuntimeError when it is closed.
        """
        height, width, _ = self._shape.picture
        if images.dtype != np.uint8 or images.shape[1:] != self._shape.picture:
            raise ValueError(
                f"images must be uint8 (N, {height}, {width}, 3), "
                f"not {images.dtype} {images.shape}; fit them with card.preprocessing.fit_batch"
            )
        with self._lock:
            if self._resources is None:
                raise RuntimeError("this embedder is closed")
            self._cuda.use()
            try:
                return self._run(images)
            except BaseException:
                self._settle()
                raise

    def _run(self, images: NDArray[np.uint8]) -> Embeddings:
        embeddings = np.empty((len(images), self._card.dim), np.float32)
        step = self._shape.profile.max
        starts = range(0, len(images), step)
        for turn, start in enumerate(starts):
            lane = self._lanes[turn % _LANES]
            if turn >= _LANES:
                self._collect(lane, embeddings, starts[turn - _LANES])
            lane.start(images[start : start + step])
        for turn in range(max(0, len(starts) - _LANES), len(starts)):
            self._collect(self._lanes[turn % _LANES], embeddings, starts[turn])
        return embeddings

    def _collect(self, lane: Lane, embeddings: Embeddings, start: int) -> None:
        rows = embeddings[start : start + self._shape.profile.max]
        rows[:] = lane.finish()[: len(rows)]

    def _warm_up(self) -> None:
        """Load the kernels, which CUDA puts off to their first run; shows too that they run."""
        least = np.zeros((self._shape.profile.min, *self._shape.picture), np.uint8)
        try:
            for lane in self._lanes:
                lane.start(least)
        finally:
            self._settle()

    def _settle(self) -> None:
        """Wait for what is on its way: buffers are neither reused nor freed under the GPU."""
        for lane in self._lanes:
            lane.finish()

    def close(self) -> None:
        """Free the engine and its memory; more than once does no harm."""
        with self._lock:
            resources, self._resources = self._resources, None
            if resources is None:
                return
            for lane in self._lanes:
                lane.close()
            self._lanes, self._loaded = [], None
            resources.close()


def _lane_shape(bundle: Bundle, engine: EngineFile) -> LaneShape:
    spec = bundle.card.preprocessing
    return LaneShape(engine.key.profile, (spec.height, spec.width, 3), bundle.card.dim)


def _check_signature(trt: ModuleType, engine: Any, bundle: Bundle, file: EngineFile) -> None:
    """Compare what the engine takes and gives with the card; buffers are sized by that."""
    spec = bundle.card.preprocessing
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    found = {
        name: (engine.get_tensor_dtype(name), tuple(engine.get_tensor_shape(name))[1:])
        for name in names
    }
    wanted = {
        INPUT: (trt.DataType.UINT8, (spec.height, spec.width, 3)),
        OUTPUT: (trt.DataType.FLOAT, (bundle.card.dim,)),
    }
    if found != wanted or _batches(engine) != file.key.profile:
        raise MismatchError(
            f"{file.path} takes and gives {found}, or other batches than {file.key.profile}: it "
            "is no engine of this bundle.",
            mend=REBUILD,
        )


def _batches(engine: Any) -> Profile:
    """The batches that an engine itself says it takes."""
    fixed = next(iter(engine.get_tensor_shape(INPUT)))
    if fixed != -1:
        return Profile(fixed, fixed, fixed)
    return Profile(*(next(iter(shape)) for shape in engine.get_tensor_profile_shape(INPUT, 0)))
