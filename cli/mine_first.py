"""`vr train` in a folder with video and no mined patches mines first, and says so."""

from pathlib import Path

from cli.commands.mine import mine_with_bar
from cli.commands.mine import tell as tell_mining
from cli.options import DEFAULT_PATCHES
from cli.output import say
from toolkit.errors import InputError
from toolkit.workspace import write_bytes

UNFINISHED = ".mining"


def mine_if_needed(patches: Path) -> int:
    """Mine the videos of this folder where there are no shards yet; the exit code so far."""
    from toolkit.mining.settings import MiningSettings
    from toolkit.patches.shards import find_shards
    from toolkit.video.find import find_videos

    # It stands while this folder is being mined: a kill in the middle must not leave a run
    # that silently trains on the first few videos.
    unfinished = patches / UNFINISHED
    if find_shards(patches) and not unfinished.exists():
        return 0
    if patches != DEFAULT_PATCHES or not find_videos([Path()], lambda *_: None):
        raise InputError(
            f"There are no mined pairs in {patches}"
            + ("." if patches != DEFAULT_PATCHES else ", and no video in this folder."),
            mend="Mine some video first (vr mine FOLDER_OF_VIDEO), or go to a folder with video.",
        )
    say("no mined pairs yet: mining the videos of this folder first")
    write_bytes(unfinished, b"vr train is mining the videos of the folder above\n")
    report, audit = mine_with_bar([Path()], patches, MiningSettings())
    unfinished.unlink()
    tell_mining(report, audit)
    if not report.total_pairs:
        raise InputError(
            "Nothing that moves was found in the videos of this folder: there are no pairs to "
            "train on.",
            mend="Add video in which things move, or mine with other settings (vr mine -h).",
        )
    return 3 if report.quarantined else 0
