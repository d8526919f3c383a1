"""The published network from a .caffemodel into a run that eval, export and index take."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from toolkit.caffe.description import check_description
from toolkit.caffe.mean_file import MeanImage, check_mean, read_mean
from toolkit.caffe.model_file import read_caffemodel
from toolkit.caffe.prototxt import read_prototxt
from toolkit.caffe.weights import INPUT, MatchedWeights, match_weights
from toolkit.errors import UsageError
from toolkit.preprocess import Channels, Preprocessing
from toolkit.training.run_folder import DataRecord, RunFolder
from toolkit.training.settings import TrainSettings
from toolkit.workspace import PATCHES, atomic_folder, sha256_file

if TYPE_CHECKING:
    from toolkit.model_card import ModelCard
    from toolkit.networks.embedder import EmbeddingNetwork

NO_MEAN = "none"


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """The files of a published model.

    weights: the .caffemodel; mean: the path of a .binaryproto, three numbers (blue,green,red)
    or "none"; prototxt: a description to check, or None; gray: the model takes gray patches
    as three equal channels.
    """

    weights: Path
    mean: str
    prototxt: Path | None = None
    gray: bool = False


@dataclass(frozen=True, slots=True)
class ImportedModel:
    """What an import made. ignored: layers of the file that were passed over."""

    run: Path
    card: "ModelCard"
    ignored: tuple[str, ...]


def import_model(model: PublishedModel, run: RunFolder) -> ImportedModel:
    """Read a published model into a run, which is there whole or not at all.

    Raises UsageError (no mean was said), InputError (a file cannot be read), MismatchError (it
    is another network, or the mean is not for it), StorageError.
    """
    from toolkit.networks.saved import save_model

    mean = _mean(model.mean)
    if model.prototxt is not None:
        check_description(read_prototxt(model.prototxt), str(model.prototxt))
    weights = match_weights(read_caffemodel(model.weights), str(model.weights))
    digest = sha256_file(model.weights)
    network = build_network(weights, mean, "gray" if model.gray else "bgr")
    lineage: Mapping[str, Any] = {
        "run": run.path.name, "recipe": "caffe", "step": 0, "data": digest,
        "source": model.weights.name, "mean": _said(model.mean),
    }  # fmt: skip
    with run.claimed(), atomic_folder(run.path) as draft:
        RunFolder(draft).begin(_settings(model), _no_data(digest))
        card = save_model(network, draft, lineage)
    run.make_latest()
    return ImportedModel(run.path, card, weights.ignored)


def build_network(
    weights: MatchedWeights, mean: NDArray[np.float32], channels: Channels
) -> "EmbeddingNetwork":
    """The network with the given weights, in evaluation mode; mean: float32 (3, 227, 227) BGR."""
    import torch

    from toolkit.networks.embedder import EmbeddingNetwork

    preprocessing = Preprocessing(INPUT[1], INPUT[2], channels, 1.0)
    with torch.device("meta"):  # nothing is drawn for weights that are replaced at once
        network = EmbeddingNetwork("alexnet", preprocessing, 1024, mean_image=True)
    arrays = {f"backbone.{name}": values for name, values in weights.tensors.items()}
    arrays["preprocess.mean"] = mean
    arrays["preprocess.deviation"] = np.ones((3, 1, 1), np.float32)
    tensors = {name: torch.from_numpy(values.copy()) for name, values in arrays.items()}
    network.load_state_dict(tensors, assign=True)
    return network.eval()


def _mean(said: str) -> NDArray[np.float32]:
    """The mean that was asked for, float32 (3, 227, 227), blue first."""
    if said == NO_MEAN:
        return np.zeros(INPUT, np.float32)
    if (numbers := _numbers(said)) is not None:
        values = np.array(numbers, np.float32)[:, None, None]
        mean = MeanImage(np.ascontiguousarray(np.broadcast_to(values, INPUT)))
    elif said:
        mean = read_mean(Path(said))
    else:
        raise UsageError(
            "The published models take a mean image off their input, and no mean was given.",
            mend="Give the published file with --mean video_mean.binaryproto, three numbers "
            "(blue,green,red), or --mean none for a model that was trained without one.",
        )
    check_mean(mean, said, INPUT)
    return mean.pixels


def _numbers(said: str) -> list[float] | None:
    """Three numbers with commas between them, or None where it is something else."""
    try:
        numbers = [float(part) for part in said.split(",")]
    except ValueError:
        return None
    return numbers if len(numbers) == INPUT[0] else None


def _said(mean: str) -> str:
    return mean if mean == NO_MEAN or _numbers(mean) else Path(mean).name


def _settings(model: PublishedModel) -> TrainSettings:
    """The published recipe: a .caffemodel does not say how it was trained."""
    changes = {"channels": "gray" if model.gray else "bgr", "held_out": 0.0}
    return TrainSettings.from_recipe("wang2015", changes).resolved("fp32")


def _no_data(digest: str) -> DataRecord:
    """An imported network has seen none of the pairs here: all may be used to measure it."""
    return DataRecord(patches=str(PATCHES), digest=digest, train_pairs=0, held_out=())
