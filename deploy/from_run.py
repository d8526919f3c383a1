"""From a run to its bundle: what to prove it on, and what to calibrate it with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deploy.export import Evidence, ExportReport, check_target, export_bundle
from deploy.from_transfer import export_transfer
from deploy.onnx.resize import check_size
from deploy.proof.parity import Tracks
from deploy.proof.proof_set import most_pairs
from deploy.settings import ExportSettings
from toolkit.errors import UsageError
from toolkit.model_card import FILE_NAME
from toolkit.patches.shards import StoredPair
from toolkit.training.held_out import proof_pairs, was_imported
from toolkit.training.run_folder import RunFolder
from toolkit.transfer.run import is_transfer


def _ignore(*_: object) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Watch:
    """Who looks on: `note` is told what a person should know, `ranges` how far int8 is."""

    note: Callable[[str], None] = _ignore
    ranges: Callable[[int, int], None] = _ignore


def export_run(
    run: Path,
    out: Path,
    settings: ExportSettings,
    patches: Path | None = None,
    watch: Watch | None = None,
) -> ExportReport:
    """Export a run to the bundle `out`, proven on the pairs that the run held out.

    patches: where its shards lie now, if they were moved; of a run of `vr transfer`, its
    labelled pictures (deploy.from_transfer). Raises what export_bundle does,
    UsageError for a run that is not finished, MismatchError where its patches are not there.
    """
    watch = watch or Watch()
    if is_transfer(run):
        return export_transfer(run, out, settings, patches, watch.ranges)
    check_target(out)
    folder = RunFolder.open(run)
    if not (folder.path / FILE_NAME).is_file():
        raise UsageError(
            f"The run {folder.path} is not finished.",
            mend=f"Go on with: {folder.resume_command}",
        )
    card = check_size(folder.path, settings.size)
    record = folder.read_data()
    if not record.held_out and not was_imported(record):
        watch.note("the run held nothing out: the export is proven on patches it was trained on")
    pairs = proof_pairs(folder, patches, most_pairs(card.preprocessing))
    fit = card.preprocessing.fit_batch
    calibration = None
    if settings.precision != "fp32":  # float16 is tried on some of them, for what overflows
        from deploy.precision import calibration_patches

        few = {} if settings.precision == "int8" else {"count": 64, "least": 1}
        calibration = calibration_patches(folder, card, patches, **few)
        if was_imported(record) and settings.precision == "int8":
            watch.note(
                "the network was imported: int8 takes its ranges from patches that it is "
                "proven on too"
            )
    return export_bundle(
        folder.path,
        out,
        fit([stored.read_query() for stored in pairs]),
        fit([stored.read_positive() for stored in pairs]),
        settings,
        Evidence(_tracks(pairs), calibration, watch.ranges),
    )


def _tracks(pairs: Sequence[StoredPair]) -> Tracks:
    names = [stored.pair.track for stored in pairs]
    return np.unique(names, return_inverse=True)[1].astype(np.int64)
