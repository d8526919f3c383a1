"""`vr transfer`: from labelled pictures and a run to a classifier."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.device import resolve_device
from toolkit.embedding_torch import TorchEmbedder
from toolkit.errors import Interrupted, MismatchError, UsageError
from toolkit.evaluation.labelled import find_labelled
from toolkit.evaluation.probe import choose_strength, fit_probe
from toolkit.model_card import ModelCard
from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.networks.saved import load_model, save_model
from toolkit.transfer.classifier import ClassifierNetwork
from toolkit.transfer.confusion import Measured
from toolkit.transfer.head import ClassifierHead
from toolkit.transfer.page import Story, write_page
from toolkit.transfer.pictures import PictureStore
from toolkit.transfer.run import RECIPE, SETTINGS_NAME, Base, LabelRecord, TransferFolder
from toolkit.transfer.session import NOBODY, Sitting, Watch
from toolkit.transfer.settings import HEAD, TransferSettings
from toolkit.transfer.trainer import TransferTrainer

_BATCH = 128


@dataclass(frozen=True, slots=True)
class TransferReport:
    """What a finished transfer gives.

    base: the network that it began from; card: the network of the classifier, the same with
    mode "head". measured: the state that was kept, on the held-out pictures; best_step: after
    how many steps that was, 0 for the linear probe that it began with.
    """

    run: TransferFolder
    settings: TransferSettings
    base: ModelCard
    card: ModelCard
    store: PictureStore
    measured: Measured
    steps: int
    best_step: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _Begun:
    """What a sitting begins with. base: the run that the network is of."""

    run: TransferFolder
    base: Path
    settings: TransferSettings
    network: EmbeddingNetwork
    card: ModelCard
    store: PictureStore


def transfer(
    source: Path,
    base: Path,
    run: TransferFolder,
    settings: TransferSettings,
    *,
    device: str = "auto",
    watch: Watch = NOBODY,
) -> TransferReport:
    """Learn a classifier of labelled pictures (a folder or a CSV file) from the run `base`.

    Raises InputError (too few pictures or classes), MismatchError (a damaged run),
    MissingError (no such device), TrainingError (no longer numbers), Interrupted (resumable),
    StorageError.
    """
    begun = time.perf_counter()
    device = resolve_device(device)
    base = base.parent / base.readlink() if base.is_symlink() else base
    if base.resolve() == run.path.resolve():
        raise UsageError(
            f"{run.path} cannot take its own place.", mend="Use another --name, or another --from."
        )
    what, root = _prepared(source, base, run, settings, watch)
    labels = LabelRecord.of(source, root, what.store)
    with run.run.claimed(SETTINGS_NAME):
        run.begin(settings, Base(base, what.card.fingerprint), labels)
        return _carry_out(what, device, watch, begun)


def resume(
    run: TransferFolder,
    source: Path | None = None,
    *,
    device: str = "auto",
    watch: Watch = NOBODY,
) -> TransferReport:
    """Go on with an interrupted transfer from its last checkpoint, as if it had not stopped.

    source: the labelled pictures, if they were moved. Raises MismatchError where they, or the
    network of the run that it began from, are not those of the beginning, and what `transfer`
    raises.
    """
    begun = time.perf_counter()
    device = resolve_device(device)
    settings, _ = run.read_settings()
    record = run.read_labels()
    base, where = run.find_base(), run.find_labels(record.source, source)
    what, _ = _prepared(where, base, run, settings, watch)
    if what.store.digest() != record.digest:
        raise MismatchError(
            f"The labelled pictures are not those that {run.path} was begun with.",
            mend="Bring the old ones back, or begin anew with another --name.",
        )
    with run.run.held():
        return _carry_out(what, device, watch, begun)


def _prepared(
    source: Path, base: Path, run: TransferFolder, settings: TransferSettings, watch: Watch
) -> tuple[_Begun, Path]:
    """What a sitting needs, and the folder that the pictures' paths lie in."""
    network, card = load_model(base)
    found = find_labelled(source, settings.group_by)
    total = len(found.files)
    store = PictureStore(found, card.preprocessing, lambda done: watch.picture(done, total))
    return _Begun(run, base, settings, network, card, store), found.root


def _carry_out(what: _Begun, device: str, watch: Watch, begun: float) -> TransferReport:
    """As `_learn`; stopped at any moment it is a run that can go on."""
    try:
        return _learn(what, device, watch, begun)
    except KeyboardInterrupt:
        raise Interrupted(
            f"Interrupted; what {what.run.path} had saved stays.",
            mend=f"Go on with: {what.run.resume_command}",
        ) from None


def _learn(what: _Begun, device: str, watch: Watch, begun: float) -> TransferReport:
    """All steps from the last checkpoint on, or from the first; then what was best is kept."""
    goes_on = what.run.run.last.exists()
    head = _zeros(what) if goes_on else _probe(what, device)
    network = ClassifierNetwork(what.network, head)
    steps = what.settings.steps_of(len(what.store.split.train))[1]
    trainer = TransferTrainer(network, what.settings, steps, device)
    sitting = Sitting(what.run, what.store, trainer, watch)
    first = sitting.restore() if goes_on else 0
    sitting.run_steps(first)
    measured, best_step = sitting.keep_best()
    card = _save(what, network, measured, best_step)
    write_page(what.run.page, Story(what.run, what.settings, what.store, measured, best_step))
    seconds = time.perf_counter() - begun
    return TransferReport(
        what.run,
        what.settings,
        what.card,
        card,
        what.store,
        measured,
        steps,
        best_step,
        seconds,
    )


def _zeros(what: _Begun) -> ClassifierHead:
    """A layer whose weights come from a checkpoint."""
    classes = what.store.pictures.classes
    weights = np.zeros((len(classes), what.card.dim), np.float32)
    return ClassifierHead(classes, weights, weights[:, 0])


def _probe(what: _Begun, device: str) -> ClassifierHead:
    """The layer to begin with: the linear probe of the plain pictures."""
    embedder = TorchEmbedder(what.network, what.card, device)
    rows, pictures = what.store.split.train, what.store.pictures
    vectors = [embedder.embed(images) for images in what.store.batches(rows, _BATCH)]
    known, labels, classes = np.concatenate(vectors), pictures.labels[rows], len(pictures.classes)
    strength = choose_strength(known, labels, classes, pictures.groups[rows])
    probe = fit_probe(known, labels, classes, strength)
    return ClassifierHead(pictures.classes, probe.weights, probe.biases)


def _save(
    what: _Begun, network: ClassifierNetwork, measured: Measured, best_step: int
) -> ModelCard:
    """Write the classifier, then the network: once its card is there the run is finished."""
    from toolkit.networks.saved import fingerprint

    weights = {name: t.detach().cpu() for name, t in what.network.state_dict().items()}
    mark = fingerprint(weights, what.card.preprocessing, what.card.architecture)
    lineage: Mapping[str, Any] = what.card.lineage
    if what.settings.mode == HEAD:
        assert mark == what.card.fingerprint, "a frozen network has changed"
    else:
        lineage = {
            "run": what.run.path.name,
            "recipe": RECIPE,
            "step": best_step,
            "data": what.store.digest(),
            "init": {"source": str(what.base), "digest": what.card.fingerprint},
        }
    notes = {
        "run": what.run.path.name,
        "mode": what.settings.mode,
        "step": best_step,
        "labels": what.store.digest(),
        "held_out": len(measured.labels),
        "accuracy": measured.right,
    }
    network.head_as_saved().write(what.run.path, mark, notes)
    return save_model(what.network, what.run.path, lineage)
