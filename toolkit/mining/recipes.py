"""The ways to mine, by name. A recipe turns the frames of a video into pairs."""

from collections.abc import Iterable, Iterator

from toolkit.mining.mined import MinedPair
from toolkit.mining.modern.pairs import pairs_of
from toolkit.mining.modern.tracks import moving_tracks
from toolkit.mining.settings import MiningSettings
from toolkit.mining.tally import Tally
from toolkit.video.shown import ShownFrame


def mined_pairs(
    frames: Iterable[ShownFrame], settings: MiningSettings, tally: Tally
) -> Iterator[MinedPair]:
    """The pairs of some footage by the recipe of `settings`, counted in `tally`.

    The same frames and settings give the same pairs. An error that `frames` ends in passes
    through, a DamagedVideoError after the pairs of what was read. Raises VideoError for
    pictures that cannot be analysed.
    """
    if settings.recipe == "wang2015":
        from toolkit.mining.wang2015.pairs import fixed_box_pairs

        return fixed_box_pairs(frames, settings, tally)
    return pairs_of(moving_tracks(frames, settings, tally), settings, tally)
