"""config.pbtxt: what Triton is told of a model, as the text form of its ModelConfig.

Source: Triton's model_config.proto and the model configuration page of its user guide.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from deploy.onnx.make import INPUT, OUTPUT, PROBABILITIES
from toolkit.errors import UsageError

Backend = Literal["onnxruntime", "tensorrt"]
PLATFORMS: Mapping[Backend, str] = {
    "onnxruntime": "onnxruntime_onnx",
    "tensorrt": "tensorrt_plan",
}
BEGIN = "# begin: written by vr export --triton at each new version"
END = "# end"

# A slash would lead out of the repository, a leading dot hides the folder.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True, slots=True)
class TritonSettings:
    """How Triton is to serve a bundle.

    max_batch: the most pictures that Triton puts together; of an engine, no more than its
    profile allows. queue_delay_us: how long a picture waits for others, in microseconds.
    device: where model.onnx runs; "auto" leaves it to Triton, which takes its GPUs where it
    has any; engines always run on a GPU. instances: copies of the model, on each GPU or on
    the CPU. threads: of one copy on the CPU, None for all. versions: how many of the newest
    are served.
    """

    name: str = "vr_embedder"
    max_batch: int = 32
    queue_delay_us: int = 2000
    device: Literal["auto", "cpu", "gpu"] = "auto"
    instances: int = 1
    threads: int | None = None
    versions: int = 1

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UsageError(
                f"A model of Triton cannot be called {self.name!r}.",
                mend="Use letters, digits, _, - and dots; no more than 128, and no dot first.",
            )
        counts = (self.max_batch, self.instances, self.versions)
        if min(*counts, 1 if self.threads is None else self.threads) < 1:
            raise UsageError(
                "A largest batch, instances, threads and versions of Triton are 1 or more; given "
                f"are {self.max_batch}, {self.instances}, {self.threads} and {self.versions}."
            )
        if self.queue_delay_us < 0:
            raise UsageError(f"A picture cannot wait {self.queue_delay_us} microseconds.")


@dataclass(frozen=True, slots=True)
class Served:
    """What one model of a repository takes and gives.

    size: height and width of a picture in pixels; dim: length of an embedding; batch: how
    many pictures it takes at once where that is fixed, else None; max_batch: the most that
    it is given where it is not; preferred: batches it is fastest at, empty where all are
    alike; classes: how many it gives the probabilities of, 0 where it is no classifier.
    """

    name: str
    backend: Backend
    size: tuple[int, int]
    dim: int
    batch: int | None
    max_batch: int
    preferred: tuple[int, ...] = ()
    classes: int = 0


@dataclass(frozen=True, slots=True)
class Versions:
    """What changes with a version.

    fingerprints: of the network, by the number of the version; files: of the newest, the
    plan for each compute capability as Triton spells it ("9.0"), where there are several.
    """

    fingerprints: Mapping[int, str]
    precisions: Mapping[int, str]
    files: Mapping[str, str]


def config_text(served: Served, settings: TritonSettings, versions: Versions) -> str:
    """The whole config.pbtxt."""
    parts = [
        "# Written by vr. Edit it as you like: vr changes nothing but the block at its end.",
        f"name: {_quote(served.name)}",
        f"platform: {_quote(PLATFORMS[served.backend])}",
        f"backend: {_quote(served.backend)}",
        f"max_batch_size: {0 if served.batch else served.max_batch}",
        _tensor("input", INPUT, "TYPE_UINT8", _dims(served, (*served.size, 3))),
        *_outputs(served),
        f"version_policy {{ latest {{ num_versions: {settings.versions} }} }}",
        _instances(served, settings),
        _batching(served, settings),
        _warmup(served),
        _threads(served, settings),
        versions_block(versions),
    ]
    return "\n".join(part for part in parts if part) + "\n"


def versions_block(versions: Versions) -> str:
    """The part of config.pbtxt that every new version writes again.

    A client asks for it (GET v2/models/NAME/config) to know of which network the vectors
    are: those of two fingerprints cannot be compared.
    """
    lines = [BEGIN]
    for number, fingerprint in sorted(versions.fingerprints.items()):
        lines.append(_parameter(f"vr_fingerprint_{number}", fingerprint))
        lines.append(_parameter(f"vr_precision_{number}", versions.precisions[number]))
    for capability, file in sorted(versions.files.items()):
        entry = f"key: {_quote(capability)} value: {_quote(file)}"
        lines.append(f"cc_model_filenames {{ {entry} }}")
    return "\n".join([*lines, END])


def with_versions(text: str, versions: Versions) -> str:
    """An older config.pbtxt with its block renewed; untouched where somebody took it out."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END + "\n")
    return f"{before}{versions_block(versions)}\n{after}" if begin and end else text


def _outputs(served: Served) -> list[str]:
    lengths = {OUTPUT: served.dim, PROBABILITIES: served.classes}
    return [
        _tensor("output", name, "TYPE_FP32", _dims(served, (length,)))
        for name, length in lengths.items()
        if length
    ]


def _dims(served: Served, dims: tuple[int, ...]) -> tuple[int, ...]:
    # Triton batches only what has a free first dimension; elsewhere the batch is one of dims.
    return (served.batch, *dims) if served.batch else dims


def _tensor(kind: str, name: str, data_type: str, dims: tuple[int, ...]) -> str:
    shape = ", ".join(map(str, dims))
    return f"{kind} {{ name: {_quote(name)} data_type: {data_type} dims: [ {shape} ] }}"


def _instances(served: Served, settings: TritonSettings) -> str:
    kind = "gpu" if served.backend == "tensorrt" else settings.device
    return f"instance_group {{ count: {settings.instances} kind: KIND_{kind.upper()} }}"


def _batching(served: Served, settings: TritonSettings) -> str:
    if served.batch or served.max_batch == 1:
        return ""
    wait = f"max_queue_delay_microseconds: {settings.queue_delay_us}"
    # Triton's guide: only for engines, whose kernels were chosen for one batch of a profile.
    sizes = ", ".join(map(str, served.preferred))
    prefer = f"preferred_batch_size: [ {sizes} ] " if sizes else ""
    return f"dynamic_batching {{ {prefer}{wait} }}"


def _warmup(served: Served) -> str:
    """Requests before the first real one: of one picture, and of the most."""
    sizes = [1] if served.batch else sorted({1, served.max_batch})
    shape = ", ".join(map(str, _dims(served, (*served.size, 3))))
    tensor = f"data_type: TYPE_UINT8 dims: [ {shape} ] zero_data: true"
    entry = f"key: {_quote(INPUT)} value {{ {tensor} }}"
    return "\n".join(
        f"model_warmup {{ name: {_quote(f'batch_{size}')} batch_size: {size} "
        f"inputs {{ {entry} }} }}"
        for size in sizes
    )


def _threads(served: Served, settings: TritonSettings) -> str:
    if settings.threads is None or served.backend != "onnxruntime":
        return ""
    return _parameter("intra_op_thread_count", str(settings.threads))


def _parameter(key: str, value: str) -> str:
    return f"parameters {{ key: {_quote(key)} value {{ string_value: {_quote(value)} }} }}"


def _quote(text: str) -> str:
    """A string of protobuf's text form: bytes of UTF-8, the unprintable ones as octal."""
    plain = frozenset(range(32, 127)) - {ord('"'), ord("\\")}
    content = text.encode("utf-8", "replace")
    return '"' + "".join(chr(b) if b in plain else f"\\{b:03o}" for b in content) + '"'
