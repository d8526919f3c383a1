"""The pairs that a finished run has not seen, for evaluation and for the proof of an export."""

from collections.abc import Sequence
from pathlib import Path

from toolkit.errors import MismatchError
from toolkit.patches.shards import StoredPair, read_pairs
from toolkit.training.run_folder import DataRecord, RunFolder


def held_out_pairs(run: RunFolder, patches: Path | None = None) -> Sequence[StoredPair]:
    """The held-out pairs of a run, in its order; none where it held out none.

    A network that was imported has seen none of the pairs here, and all of them are for it.
    patches: where the shards lie now, if they were moved. Raises MismatchError when some of
    the pairs are no longer there.
    """
    record = run.read_data()
    if was_imported(record):
        return read_pairs(patches_folder(run, patches))
    return _pick(run, record.held_out, patches)


def proof_pairs(
    run: RunFolder, patches: Path | None = None, most: int = 512
) -> Sequence[StoredPair]:
    """Pairs to compare an export on: held-out ones, or any where none were held out.

    At most `most`, spread evenly. Raises MismatchError as above.
    """
    pairs = held_out_pairs(run, patches)
    if not pairs:
        pairs = read_pairs(patches_folder(run, patches))
    count = min(most, len(pairs))
    return [pairs[place * len(pairs) // count] for place in range(count)]


def was_imported(record: DataRecord) -> bool:
    """Whether the run holds a network that was not trained here (`vr import caffe`)."""
    return record.train_pairs == 0


def patches_folder(run: RunFolder, patches: Path | None = None) -> Path:
    """Where the shards of a run lie: `patches`, or where the run was trained on them.

    A relative path was noted as it was given. It is looked up from the current folder, and then
    from the folders above the run, so that a workspace may be moved and entered. Raises
    MismatchError where there is nothing.
    """
    record = run.read_data()
    noted = Path(record.patches)
    above = () if noted.is_absolute() else run.path.resolve().parents
    tried = [noted, *(folder / noted for folder in above)] if patches is None else [patches]
    for folder in tried:
        if folder.exists():
            return folder
    if was_imported(record):
        raise MismatchError(
            f"An imported model brings no pairs of its own, and there are none at {tried[0]}.",
            mend="Mine some video first (vr mine), or give a folder of pairs with --patches.",
        )
    raise MismatchError(
        f"The patches that the run was trained on are not at {tried[0]}.",
        mend="Say where they are now with --patches.",
    )


def _pick(run: RunFolder, keys: Sequence[str], patches: Path | None) -> Sequence[StoredPair]:
    if not keys:
        return []
    folder = patches_folder(run, patches)
    stored = {pair.pair.key: pair for pair in read_pairs(folder)}
    missing = [key for key in keys if key not in stored]
    if missing:
        raise MismatchError(
            f"{len(missing)} of the {len(keys)} held-out pairs of {run.path} are not in "
            f"{folder}, the first is {missing[0]}.",
            mend="Give the patches that the run was trained on with --patches.",
        )
    return [stored[key] for key in keys]
