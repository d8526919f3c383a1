"""The bundle: files that belong together, made by one export.

exported/
├── model.onnx            the whole network, uint8 RGB in, vectors of length 1 out
├── model.json            the model card, what model.onnx is, and the SHA-256 of the files
├── dense.onnx            with `--dense`: every window of a large picture in one pass
├── proof.safetensors     patches, and what the trained network made of them
├── parity.json           how near each runtime comes to that
└── engines/              caches of model.onnx for one GPU each; may be deleted
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, get_args

from deploy.onnx.make import MAX_BATCH
from deploy.proof.parity import Precision
from toolkit.drafts import recover
from toolkit.errors import InputError, MismatchError, QualityGateError, VrError
from toolkit.model_card import FILE_NAME, ModelCard
from toolkit.transfer.head import check_classes
from toolkit.workspace import read_json, sha256_file, storage_errors

ONNX_NAME = "model.onnx"
DENSE_NAME = "dense.onnx"
PROOF_NAME = "proof.safetensors"
PARITY_NAME = "parity.json"
ENGINES_NAME = "engines"
MAX_JSON_BYTES = 16 * 1024 * 1024
NAMES = frozenset({ONNX_NAME, FILE_NAME, DENSE_NAME, PROOF_NAME, PARITY_NAME, ENGINES_NAME})

_AGAIN = "Copy the whole bundle again, or export it again with `vr export`."


@dataclass(frozen=True, slots=True)
class DenseNote:
    """What dense.onnx is: `stride` is pixels from window to window, `window` (height, width)."""

    onnx_sha256: str
    stride: int
    window: tuple[int, int]

    def as_json(self) -> dict[str, Any]:
        """As it stands in model.json."""
        return {
            "onnx_sha256": self.onnx_sha256,
            "stride": self.stride,
            "window": list(self.window),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The inverse of as_json. Raises KeyError, TypeError or ValueError."""
        height, width = map(int, content["window"])
        note = cls(str(content["onnx_sha256"]), int(content["stride"]), (height, width))
        if not 1 <= note.stride <= 4096 or not all(16 <= side <= 4096 for side in note.window):
            raise ValueError(f"no dense graph has windows of {note.window} every {note.stride}")
        return note


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose files are those that its model.json describes.

    batch: how many pictures model.onnx takes, None for any number; quantization: how its
    precision was made, empty for fp32; dense_note: what dense.onnx is, None without one;
    proof_sha256: of the proof set, "" without one; classes: of a classifier, whose graph gives
    their probabilities beside the vectors.
    """

    folder: Path
    card: ModelCard
    precision: Precision
    opset: int
    onnx_sha256: str
    batch: int | None = None
    quantization: Mapping[str, Any] = field(default_factory=dict)
    dense_note: DenseNote | None = None
    proof_sha256: str = ""
    classes: tuple[str, ...] = ()

    @property
    def onnx(self) -> Path:
        """The ONNX file."""
        return self.folder / ONNX_NAME

    @property
    def dense(self) -> bool:
        """Whether the bundle embeds every window of a large picture in one pass."""
        return self.dense_note is not None

    @property
    def dense_onnx(self) -> Path:
        """The ONNX file of the dense pass; there where `dense` is true."""
        return self.folder / DENSE_NAME

    @property
    def proof(self) -> Path:
        """The proof set; there where `proof_sha256` is not empty."""
        return self.folder / PROOF_NAME

    @property
    def parity(self) -> Path:
        """The certificate."""
        return self.folder / PARITY_NAME

    @property
    def engines(self) -> Path:
        """The folder of TensorRT engines; it need not be there."""
        return self.folder / ENGINES_NAME

    def as_json(self) -> dict[str, Any]:
        """As it stands in model.json, but for the folder."""
        dense = {"dense": self.dense_note.as_json()} if self.dense_note else {}
        return {
            **self.card.as_json(),
            "onnx_sha256": self.onnx_sha256,
            "precision": self.precision,
            "opset": self.opset,
            "batch": self.batch,
            "quantization": dict(self.quantization),
            "proof_sha256": self.proof_sha256,
            **dense,
            **({"classes": list(self.classes)} if self.classes else {}),
        }


def read_bundle(folder: Path) -> Bundle:
    """Open a bundle and check that its files belong together.

    One that an export was replacing when it was killed is there again. The dense graph and
    the proof set are checked by those who open them. Raises InputError where there is none,
    MismatchError for a damaged one, QualityGateError for one whose certificate says that it
    does not retrieve what the network does.
    """
    check_name(folder, InputError, "Rename the folder.")
    with storage_errors(folder):
        recover(folder)
    onnx = folder / ONNX_NAME
    if not onnx.is_file():
        raise InputError(
            f"{folder} is no bundle: it holds no {ONNX_NAME}.",
            mend="Make one with `vr export`, or name the folder of one.",
        )
    bundle = _parse(_read_small(folder / FILE_NAME, "model card"), folder)
    check_file(onnx, bundle.onnx_sha256)
    _check_certificate(bundle)
    return bundle


def check_name(folder: Path, kind: type[VrError], mend: str) -> None:
    """Raises an error of the kind for a name that ONNX Runtime cannot open: it takes UTF-8."""
    try:
        str(folder).encode()
    except UnicodeEncodeError as error:
        raise kind(
            f"The name {str(folder)!r} is not UTF-8, and runtimes cannot open such files.",
            mend=mend,
        ) from error


def _read_small(path: Path, what: str) -> dict[str, Any]:
    if path.is_file() and path.stat().st_size > MAX_JSON_BYTES:
        raise MismatchError(f"{path} is no {what}: it has more than {MAX_JSON_BYTES:,} bytes.")
    return read_json(path, what)


def _check_certificate(bundle: Bundle) -> None:
    path = bundle.parity
    if not path.is_file():
        return
    try:
        certificate = _read_small(path, "certificate")
    except MismatchError as error:
        raise MismatchError(error.problem, mend=_AGAIN) from error
    if certificate.get("onnx_sha256", bundle.onnx_sha256) != bundle.onnx_sha256:
        raise MismatchError(f"{path} is the certificate of another {ONNX_NAME}.", mend=_AGAIN)
    if certificate.get("passed") is not True:
        raise QualityGateError(
            f"{path} says that this bundle does not retrieve what its network does.",
            mend="Export it again with `vr export`.",
        )


def check_file(path: Path, sha256: str) -> None:
    """Raises MismatchError where a file of a bundle is not the one of its model.json.

    InputError where it may not be read.
    """
    if not path.is_file():
        raise MismatchError(f"{path} is missing, which {FILE_NAME} describes.", mend=_AGAIN)
    try:
        found = sha256_file(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}.", mend="Make it readable."
        ) from error
    if found != sha256:
        raise MismatchError(
            f"{path} is not the file that {FILE_NAME} beside it describes: it is damaged, or "
            "one of the two was replaced.",
            mend=_AGAIN,
        )


def _parse(content: Mapping[str, Any], folder: Path) -> Bundle:
    source = str(folder / FILE_NAME)
    card = ModelCard.from_json(content, source)
    try:
        return Bundle(
            folder,
            card,
            precision=_precision(content["precision"]),
            opset=int(content["opset"]),
            onnx_sha256=str(content["onnx_sha256"]),
            batch=_batch(content.get("batch")),
            quantization=dict(content.get("quantization", {})),
            dense_note=DenseNote.from_json(content["dense"]) if "dense" in content else None,
            proof_sha256=str(content.get("proof_sha256", "")),
            classes=check_classes(content["classes"]) if "classes" in content else (),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise MismatchError(f"{source} is no card of a bundle: {error!r}.") from error


def _precision(value: Any) -> Precision:
    if value not in get_args(Precision):
        raise ValueError(f"the precision {value!r} is not known")
    known: Precision = value
    return known


def _batch(value: Any) -> int | None:
    if value is not None and not 1 <= int(value) <= MAX_BATCH:
        raise ValueError(f"no graph takes a batch of {value}")
    return None if value is None else int(value)
