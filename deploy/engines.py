"""The engines of a bundle: built, and proven like the bundle itself where they run here."""

from collections.abc import Iterator

from deploy.bundle import Bundle
from deploy.proof.certificate import certify, check_gate
from deploy.proof.proof_set import read_proof
from deploy.proof.verify import prove
from deploy.tensorrt import Engine, EngineFile, EngineSettings, build_engines
from toolkit.embedding import Embedder
from toolkit.errors import QualityGateError, UsageError


def add_engines(bundle: Bundle, settings: EngineSettings) -> Iterator[Engine]:
    """Build the engines that are missing, and prove those of this machine's GPU.

    Gives those that passed. One that does not retrieve what the network does is removed, and
    once all were proven, that is an error. Engines for RTX GPUs are not run here. Raises
    QualityGateError, and what `build_engines` raises; the bundle stays as it is.
    """
    if bundle.classes:
        raise UsageError(
            "An engine gives vectors only, and this bundle is a classifier.",
            mend="Leave --trt and --trt-rtx out: ONNX Runtime runs it, on a GPU too.",
        )
    failed: list[QualityGateError] = []
    engines = build_engines(bundle, settings)
    for engine in engines:
        try:
            if settings.target == "tensorrt":
                _prove_engine(bundle, engine)
            yield engine
        except QualityGateError as error:
            failed.append(error)
    if failed:
        raise failed[0]


def _prove_engine(bundle: Bundle, engine: Engine) -> None:
    from deploy.tensorrt.files import read_engine

    file = read_engine(engine.path)
    runtime, parity = prove(_open(bundle, file), read_proof(bundle))
    try:
        check_gate(parity, bundle, runtime, f"The engine {engine.path.name} was removed.")
    except QualityGateError:
        file.remove()
        raise
    certify(bundle, runtime, parity, engine.path.name)


def _open(bundle: Bundle, file: EngineFile) -> Embedder:
    from deploy.runtimes.tensorrt import TensorRtEmbedder

    return TensorRtEmbedder(bundle, file)
