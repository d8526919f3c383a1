"""What helps against each reason that mining sets something aside for."""

from collections.abc import Mapping

_NOTHING = "nothing: still things teach nothing"
_CROWDS = "a smaller --gap; crowds and blur do this"

_HINTS: Mapping[str, str] = {
    "cuts": "edited footage: a smaller --gap",
    "tracks too short": "a smaller --gap",
    "pairs that did not move": _NOTHING,
    "tracks that came to rest": _NOTHING,
    "frames too far apart": "footage of more than two frames a second",
    "things too small": "footage of higher resolution",
    "things without texture": "nothing: there is nothing to recognise",
    "pairs too plain": "nothing: there is nothing to recognise",
    "looks with unclear camera motion": "a steadier camera",
    "tracks lost": _CROWDS,
    "tracks that changed their look": _CROWDS,
    "tracks that left the frame": _CROWDS,
    "tracks that met another": _CROWDS,
    "frames with too few points": "nothing: there is nothing to recognise",
    "frames with unclear camera motion": "a steadier camera",
    "frames with few moving points": "--recipe modern, which also takes small things",
    "frames with mostly moving points": "a steadier camera",
    "pairs of low quality": "a lower --min-quality, after a look at the contact sheet",
}


def hint(reason: str) -> str:
    """A remedy for a reason of the tally, empty where none is known."""
    return _HINTS.get(reason, "")
