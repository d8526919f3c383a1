"""The bundle: model.onnx, model.json, parity.json and engines/, which belong together.

exported/
├── model.onnx     the whole network, uint8 RGB in, vectors of length 1 out
├── model.json     the model card, and the SHA-256, precision and opset of model.onnx
├── parity.json    how near the export comes to the network it was made from
└── engines/       caches of model.onnx for one GPU each; may be deleted
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from deploy.parity import Precision
from toolkit.drafts import recover
from toolkit.errors import InputError, MismatchError
from toolkit.model_card import FILE_NAME, ModelCard
from toolkit.workspace import read_json, sha256_file, storage_errors

ONNX_NAME = "model.onnx"
PARITY_NAME = "parity.json"
ENGINES_NAME = "engines"
NAMES = frozenset({ONNX_NAME, FILE_NAME, PARITY_NAME, ENGINES_NAME})


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose model.onnx is the one that its model.json describes."""

    folder: Path
    card: ModelCard
    precision: Precision
    opset: int
    onnx_sha256: str

    @property
    def onnx(self) -> Path:
        """The ONNX file."""
        return self.folder / ONNX_NAME

    @property
    def engines(self) -> Path:
        """The folder of TensorRT engines; it need not be there."""
        return self.folder / ENGINES_NAME


def read_bundle(folder: Path) -> Bundle:
    """Open a bundle and check that its files belong together.

    One that an export was replacing when it was killed is there again. Raises InputError
    where there is none, MismatchError for a damaged one.
    """
    with storage_errors(folder):
        recover(folder)
    onnx = folder / ONNX_NAME
    if not onnx.is_file():
        raise InputError(
            f"{folder} is no bundle: it holds no {ONNX_NAME}.",
            mend="Make one with `vr export`, or name the folder of one.",
        )
    bundle = _parse(read_json(folder / FILE_NAME, "model card"), folder)
    if sha256_file(onnx) != bundle.onnx_sha256:
        raise MismatchError(
            f"{onnx} is not the file that {FILE_NAME} beside it describes: it is damaged, or "
            "one of the two was replaced.",
            mend="Copy the whole bundle again, or export it again with `vr export`.",
        )
    return bundle


def _parse(content: Mapping[str, Any], folder: Path) -> Bundle:
    source = str(folder / FILE_NAME)
    card = ModelCard.from_json(content, source)
    try:
        precision = content["precision"]
        if precision not in get_args(Precision):
            raise ValueError(f"the precision {precision!r} is not known")
        return Bundle(folder, card, precision, int(content["opset"]), str(content["onnx_sha256"]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise MismatchError(f"{source} is no card of a bundle: {error!r}.") from error
