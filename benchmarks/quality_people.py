"""Who walks through the test part of vtest.avi: eight people, told apart by eye.

The mined tracks do not know that somebody who left has come back. Judged on two pictures of
each track, every person in them counts, so that two tracks without a common letter surely show
different people.
"""

VIDEO = "45cddc9490be"  # how the SHA-256 of the file begins, and so the names of its tracks

# A: woman, curly fair hair, black coat. B: man, jacket of red and navy. C: man, black coat,
# mostly from behind. D: bald man, dark jacket, jeans. E: dark-haired man, dark jacket, jeans.
# F: woman, red jacket. G: man, blue jacket. H: man in black with a sheet of paper.
_PEOPLE = {
    "0027r1": "AB", "0029": "C", "0030": "C", "0034": "D", "0034r1": "D",
    "0034r2": "DF", "0035r1": "F", "0037r1": "A", "0037r2": "A", "0037r3": "A",
    "0037r4": "AB", "0038r1": "CH", "0039": "C", "0040": "BC", "0040r2": "BCE",
    "0041": "E", "0042": "F", "0044": "B", "0045": "EF", "0046": "DE",
    "0046r2": "BE", "0047": "G", "0047r1": "EG", "0049": "F", "0049r1": "BD",
    "0049r3": "ACH", "0050": "EG", "0050r1": "BEG", "0050r2": "B", "0051": "F",
    "0051r1": "F", "0051r2": "F", "0053": "H", "0055": "G", "0056": "DE",
    "0057": "DE",
}  # fmt: skip


def people_of(track: str) -> frozenset[str]:
    """The people that a track shows. Raises ValueError for a track that was not judged."""
    letters = _PEOPLE.get(track.removeprefix(f"{VIDEO}-0000-"))
    if letters is None:
        raise ValueError(
            f"Nobody has judged who is seen in {track}: the video or its mining is another one. "
            "Look at the tracks and write it into quality_people.py."
        )
    return frozenset(letters)
